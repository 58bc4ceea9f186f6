"""What is done with data before training: check it, look at it, bring it into another form."""
