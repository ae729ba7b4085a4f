"""Generated aerial scenes with objects whose pixels are known."""
