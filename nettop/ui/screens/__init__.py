"""The screens: the main one with its views, and the dialogs above it."""
