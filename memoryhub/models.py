"""No models: the app composes the others. The file is here because Django tells only apps with one that it migrated."""
