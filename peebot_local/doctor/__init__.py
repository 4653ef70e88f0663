"""`peebot doctor`: facts about a PeeBot, and pure findings from them; examination.py gathers the facts."""
