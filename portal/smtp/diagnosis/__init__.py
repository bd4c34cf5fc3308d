"""What a failed SMTP conversation means: cause, whose move it is, fix and retry class."""
