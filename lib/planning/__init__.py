"""Plan an app for somebody's own images: look at images and labels, choose, and write the app's folder."""
