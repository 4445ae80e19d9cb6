"""Between sources and screens: threads, the bounded hand-off, the recorder's tee, the engine of the models."""
