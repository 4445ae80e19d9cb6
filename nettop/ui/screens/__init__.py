"""The screens: the main screen with its views, and the dialogs."""
