"""The key `modality` of app.toml and DICOM's modalities."""

from lib.data.modality import ANY, MODALITIES


def test_a_dicom_modality_belongs_to_one_kind_of_image() -> None:
    codes = [code for codes in MODALITIES.values() for code in codes]
    assert len(codes) == len(set(codes)) and all(len(code) <= 16 and code.isupper() for code in codes)
    assert MODALITIES[ANY] == (), "any modality is accepted"
