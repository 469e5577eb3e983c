"""The only room that speaks HTTP: requests in, values down, outcomes and errors out."""
