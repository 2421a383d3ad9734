"""How a small model learns to answer questions about cities: rows, loss, optimizers, exams."""
