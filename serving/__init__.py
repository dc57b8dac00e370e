"""Answering: a request becomes an answer and a logged decision. Imports training, actors, events."""
