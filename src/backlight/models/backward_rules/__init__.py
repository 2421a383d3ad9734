"""Other ways back through a model than its derivative, all of them experimental."""
