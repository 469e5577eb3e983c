"""The only room that trains: pairs, losses, fit, judgement, export."""
