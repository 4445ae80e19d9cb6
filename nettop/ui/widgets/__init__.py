"""The parts that screens are made of; each draws lines, none knows a model."""
