"""`nettop demo`: labs in private namespaces with real traffic."""
