"""The learner: joins what was shown with what came of it, and learns the blend from it while it serves."""
