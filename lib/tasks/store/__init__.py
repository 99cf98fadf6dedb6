"""Store studies and labels in a folder or a DICOMweb archive, and record every saved label."""
