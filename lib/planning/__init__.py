"""Plan an app for a user's own images: look at images and labels, choose, and write the app's folder."""
