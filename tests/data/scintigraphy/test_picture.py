import numpy as np

from lib.data.scintigraphy.picture import side_by_side


def test_all_views_are_drawn_and_many_counts_are_dark() -> None:
    standard = np.zeros((2, 10, 6))
    standard[:, 4:6, 2:4] = 100
    grey = np.asarray(side_by_side([standard / 2, standard]))
    assert grey.shape == (10, 24) and grey[0, 0] == 255
    assert grey[4, 2 + 12] == 0 < grey[4, 2] < 255, "the last scan sets the grey scale of both"
    assert np.asarray(side_by_side([np.zeros((1, 4, 4))])).min() == 255
