"""Reading HTML and bringing it into well-formed order, in linear time."""
