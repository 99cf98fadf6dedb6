"""What an image is, and which DICOM modalities that comprises."""

CT, MR, PT, NM, US, XR, RGB, ANY = "CT", "MR", "PT", "NM", "US", "XR", "RGB", "any"

MODALITIES: dict[str, tuple[str, ...]] = {
    CT: ("CT",),
    MR: ("MR",),
    PT: ("PT",),
    NM: ("NM",),
    US: ("US", "IVUS", "BDUS"),
    XR: ("CR", "DX", "MG", "RF", "XA", "PX", "IO", "RG"),
    RGB: ("OP", "ES", "XC", "GM", "SM", "DMS"),
    ANY: (),
}
"""DICOM modalities by the value of the key ``modality``. XR is any projection of X-rays, RGB any colour photograph
(fundus, endoscope, skin, microscope); "any" takes all of them."""

PICTURE_MODALITIES = (US, XR, RGB, ANY)
"""Values of ``modality`` whose images may be pictures (PNG, JPEG, TIFF), which have no geometry."""
