import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_tables import balanced, estimate_of, table

from crossed_jax.models.sd_coordinate import anchor_positions, coordinates, log_sds
from crossed_jax.statistics.cells import cells_of

LOG_SDS = np.array([-6.0, -3.0, -0.5, 0.0, 0.7, 4.0, 30.0])


@pytest.mark.parametrize("wall", [0.0, -1.5, -40.0])
def test_coordinates_invert_log_sds(wall):
    anchors = np.full(LOG_SDS.shape, wall)
    found, _ = log_sds(coordinates(LOG_SDS, anchors), anchors)
    np.testing.assert_allclose(found, LOG_SDS, atol=1e-10)


@pytest.mark.parametrize("wall", [0.0, -40.0])
def test_log_jacobian_is_that_of_the_map(wall):
    anchors = np.full(LOG_SDS.shape, wall)
    z = coordinates(LOG_SDS, anchors)
    jacobian = jax.jacobian(lambda z: log_sds(z, anchors)[0])(z)
    _, found = log_sds(z, anchors)
    assert float(found) == pytest.approx(float(jnp.linalg.slogdet(jacobian)[1]), abs=1e-10)


def test_far_right_of_the_wall_the_coordinate_is_the_logarithm():
    np.testing.assert_allclose(coordinates(LOG_SDS, LOG_SDS - 40.0), LOG_SDS, atol=1e-12)


def test_only_sds_that_the_data_keep_from_zero_have_a_wall():
    data = balanced((3, 40), 5, sds=(1.0, 0.0), sigma=0.3, seed=2)
    cells = cells_of(data)
    point = estimate_of(cells)
    anchors = anchor_positions(np.array(cells.num_levels), cells.counts.sum(), point)
    assert anchors[0] == pytest.approx(np.log(point.factor_sds[0]))
    assert anchors[1] < np.log(point.factor_sds[1]) - 30


def test_an_sd_that_another_factor_s_can_stand_in_for_has_no_wall():
    data = balanced((8, 2), 10, sds=(3.0, 0.0), sigma=0.1, seed=2)
    codes = data.factors[0].codes
    cells = cells_of(table(data.response, codes, codes))
    point = estimate_of(cells)
    anchors = anchor_positions(np.array(cells.num_levels), cells.counts.sum(), point)
    assert np.all(anchors < np.log(point.factor_sds) - 30)
