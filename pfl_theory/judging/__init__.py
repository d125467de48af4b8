"""How statements are judged: claims, instances, verdicts, and what statements of one kind share."""
