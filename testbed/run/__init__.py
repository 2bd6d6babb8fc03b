"""The run stage: a plan becomes a lab, a timeline is played on it, and a history is left behind."""
