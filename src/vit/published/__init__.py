"""Published data sets as their authors left them: archives, rules, labels, order of examples."""
