"""The search for settings, judged on rows held out of the training split."""
