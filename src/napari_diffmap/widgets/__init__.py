"""The window: dock widgets over controllers, the bridge to threads, npe2 commands."""
