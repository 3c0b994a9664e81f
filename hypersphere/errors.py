"""The one kind of error that a user causes and can mend."""


class InputError(Exception):
    """The user's input (a flag, a file, a folder) is wrong; the message is one line that says what to do."""
