"""Where studies and labels are kept: a folder or a DICOMweb archive, every label checked before it is saved."""
