"""One small page for a wall screen: the tank, the link, the last visit and the last posts, as they change."""
