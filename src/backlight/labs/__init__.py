"""Experiments: nobody uses them but the user.

``frame`` is what each stands in: the notebook that carries out its trials, what finds it by its
name, lets it run and keeps what it found, and means over seeds. ``characters`` is the small GPT
that several of them train. Everything else here is an experiment, under its name: one file, or a
room whose ``experiment`` is a program read top to bottom, with the mathematics and the measuring
beside it, and its tables, figures and sentences in ``tables`` and ``shown``.
"""
