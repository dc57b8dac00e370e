"""Off-policy evaluation: what another policy would have earned, told from what this one logged.

slates        what was shown with which probability and what became of it; what the other policy would have done
weights       importance weights of slots, of prefixes, of whole slates, and what they say about themselves
reward_model  predicted rewards, cross-fitted by user
estimators    IPS, SNIPS, DM, DR, SNDR, Switch-DR, DR with shrinkage, as sums over slates
resampling    intervals by drawing users
evaluation    all of it at once, or the reason why the log cannot answer
generated     logs of a small world whose truth is known, to check the rest against
"""
