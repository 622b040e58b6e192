from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as tv
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from initpools_cli.augment import randaugment as ra
from initpools_cli.augment.blur import blur, draw_sigmas
from initpools_cli.augment.color import Jitter, draw_jitter, jitter, mean_gray
from initpools_cli.augment.crop import crop_resize, draw_boxes, draw_shifts, shift
from initpools_cli.augment.draws import Draws
from initpools_cli.augment.flip import draw_flips, flip
from initpools_cli.augment.pipelines import RECIPES, augment, to_float
from initpools_cli.augment.rotate import rotate
from initpools_cli.core.errors import UserError


def bytes_of(n: int, size: int, channels: int = 3) -> torch.Tensor:
    """Smooth images with some noise, so that equalising and posterising have levels to work on."""
    generator = torch.Generator().manual_seed(size * 10 + channels)
    coarse = torch.rand(n, channels, 4, 4, generator=generator)
    images = F.interpolate(coarse, size=size, mode="bilinear") + 0.1 * torch.rand(
        n, channels, size, size, generator=generator
    )
    return (images / 1.1 * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def floats(n: int, size: int, channels: int = 3) -> torch.Tensor:
    return to_float(bytes_of(n, size, channels))


def each(value: float, n: int) -> torch.Tensor:
    return torch.full((n,), value)


# --- recipes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (32, 3), (31, 1), (64, 3)])
def test_a_view_is_the_same_bytes_in_any_batch(recipe: str, size: int, channels: int) -> None:
    images, ids = bytes_of(64, size, channels), torch.arange(64) * 3 + 1

    def views(rows: torch.Tensor) -> torch.Tensor:
        return augment(images[rows], Draws(5, 2, ids[rows], 1), recipe)

    everyone = torch.arange(64)
    whole = views(everyone)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(views(order), whole[order])
    assert torch.equal(torch.cat([views(part) for part in everyone.split(7)]), whole)
    for image in range(0, 64, 9):
        assert torch.equal(views(everyone[image : image + 1])[0], whole[image])


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_view_is_the_same_bytes_with_one_thread_and_two(recipe: str) -> None:
    images, before = bytes_of(64, 32), torch.get_num_threads()
    views = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            views.append(augment(images, Draws(0, 0, torch.arange(64)), recipe))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*views)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("size", "channels"), [(8, 3), (9, 1), (28, 1), (50, 3)])
def test_recipes_give_floats_between_0_and_1(recipe: str, size: int, channels: int) -> None:
    images = bytes_of(40, size, channels)
    before = images.clone()
    views = augment(images, Draws(0, 0, torch.arange(40)), recipe)
    assert views.shape == (40, channels, size, size)
    assert views.dtype == torch.float32
    assert views.min() >= 0.0
    assert views.max() <= 1.0
    assert torch.equal(images, before)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_recipes_cope_with_images_of_one_color(recipe: str, level: int) -> None:
    images = torch.full((40, 16, 16, 3), level, dtype=torch.uint8)
    assert torch.isfinite(augment(images, Draws(0, 0, torch.arange(40)), recipe)).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_floats_and_bytes_give_the_same_view_and_floats_are_not_changed(recipe: str) -> None:
    images, draws = bytes_of(8, 16), Draws(0, 0, torch.arange(8))
    given_floats = to_float(images).contiguous(memory_format=torch.channels_last)
    before = given_floats.clone()
    assert torch.equal(augment(images, draws, recipe), augment(given_floats, draws, recipe))
    assert torch.equal(given_floats, before)


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - {"none"}))
def test_views_epochs_and_seeds_differ(recipe: str) -> None:
    images, ids = bytes_of(16, 16), torch.arange(16)
    batches = [
        augment(images, d, recipe) for d in (Draws(0, 0, ids), Draws(0, 0, ids, 1), Draws(0, 1, ids), Draws(1, 0, ids))
    ]
    assert not any(torch.equal(a, b) for i, a in enumerate(batches) for b in batches[:i])


def test_none_shows_the_image() -> None:
    images = bytes_of(4, 9)
    assert torch.equal(augment(images, Draws(0, 0, torch.arange(4)), "none"), to_float(images))


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UserError, match="'simclr'"):
        augment(bytes_of(1, 8), Draws(0, 0, torch.arange(1)), "simclear")


# --- crop, flip, shift -----------------------------------------------------------------------------------------------


def test_the_whole_box_is_the_image_and_flips_mirror_it() -> None:
    images, flips = floats(4, 13), torch.tensor([True, False, True, False])
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(4, 4)
    torch.testing.assert_close(crop_resize(images, whole, flips), flip(images, flips), atol=2e-6, rtol=0)
    assert torch.equal(flip(images, flips)[0], images[0].flip(2))
    assert torch.equal(flip(images, flips)[1], images[1])


def test_a_box_is_the_crop_resized() -> None:
    images = floats(1, 32)
    box = torch.tensor([[8 / 32, 4 / 32, 16 / 32, 20 / 32]])
    twin = F.interpolate(images[:, :, 4:24, 8:24], size=32, mode="bilinear", align_corners=False)
    # At the rim of the box the crop repeats its edge where the warp still sees the image.
    ours = crop_resize(images, box, torch.tensor([False]))
    torch.testing.assert_close(ours[:, :, 2:-2, 2:-2], twin[:, :, 2:-2, 2:-2], atol=1e-5, rtol=0)


@settings(max_examples=20)
@given(st.floats(0.05, 1.0), st.integers(0, 2**40))
def test_boxes_lie_inside_and_have_the_area_and_ratio_asked_for(smallest: float, first: int) -> None:
    boxes = draw_boxes(Draws(0, 0, torch.arange(200) + first), scale=(smallest, 1.0))
    left, top, width, height = boxes.unbind(1)
    assert boxes.min() >= 0.0
    assert (left + width).max() <= 1.0 + 1e-6
    assert (top + height).max() <= 1.0 + 1e-6
    area, ratio = width * height, width / height
    assert smallest - 1e-5 <= area.min() <= area.max() <= 1.0 + 1e-5
    assert 3 / 4 - 1e-5 <= ratio.min() <= ratio.max() <= 4 / 3 + 1e-5


def test_areas_are_uniform_and_ratios_balanced() -> None:
    _, _, width, height = draw_boxes(Draws(0, 0, torch.arange(20000))).unbind(1)
    assert (width * height).mean().item() == pytest.approx(0.6, abs=0.01)
    assert torch.log(width / height).mean().item() == pytest.approx(0.0, abs=0.01)


def test_shift_is_a_crop_of_the_padded_image() -> None:
    images, offsets = floats(9, 8), torch.tensor([[r, c] for r in (-4, 0, 3) for c in (-1, 0, 4)])
    padded = F.pad(images, (4, 4, 4, 4), mode="reflect")
    for image, (row, column) in enumerate(offsets.tolist()):
        twin = padded[image, :, 4 - row : 12 - row, 4 - column : 12 - column]
        assert torch.equal(shift(images, offsets)[image], twin)


def test_shifts_and_flips_take_every_value() -> None:
    draws = Draws(0, 0, torch.arange(2000))
    assert sorted(set(draw_shifts(draws, 4).flatten().tolist())) == list(range(-4, 5))
    assert draw_flips(draws).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert not draw_flips(draws, 0.0).any()


# --- color ----------------------------------------------------------------------------------------------------------


def test_jitter_is_torchvisions_where_nothing_is_clamped() -> None:
    images = 0.4 + 0.2 * floats(3, 12)
    for brightness, contrast, saturation in [(1.2, 1.0, 1.0), (1.0, 0.6, 1.0), (1.0, 1.0, 1.4), (0.8, 1.3, 0.5)]:
        by = Jitter(each(brightness, 3), each(contrast, 3), each(saturation, 3), each(0.0, 3))
        twin = torch.stack(
            [
                tv.adjust_saturation(tv.adjust_contrast(tv.adjust_brightness(i, brightness), contrast), saturation)
                for i in images
            ]
        )
        # torchvision rounds luma's weight of red to 0.2989.
        torch.testing.assert_close(jitter(images, by), twin, atol=3e-4, rtol=0)


@given(st.floats(-0.5, 0.5))
def test_hue_keeps_luma_and_gray_and_turns_back(turn: float) -> None:
    images, one = 0.45 + 0.1 * floats(2, 8), each(1.0, 2)
    turned = jitter(images, Jitter(one, one, one, each(turn, 2)))
    torch.testing.assert_close(luma(turned), luma(images), atol=1e-5, rtol=0)
    torch.testing.assert_close(jitter(turned, Jitter(one, one, one, each(-turn, 2))), images, atol=1e-5, rtol=0)
    gray = images[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(jitter(gray, Jitter(one, one, one, each(turn, 2))), gray, atol=1e-5, rtol=0)


def luma(images: torch.Tensor) -> torch.Tensor:
    return (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)


def test_a_third_of_a_turn_makes_red_greenish() -> None:
    red = torch.tensor([0.6, 0.4, 0.4]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    one = each(1.0, 1)
    changed = [jitter(red, Jitter(one, one, one, each(t, 1)))[0, :, 0, 0] for t in (1 / 3, -1 / 3)]
    assert {int(color.argmax()) for color in changed} == {1, 2}


def test_gray_has_equal_channels_and_the_luma_of_the_image() -> None:
    images = floats(3, 8)
    one = each(1.0, 3)
    gray = jitter(images, Jitter(one, one, each(0.0, 3), each(0.0, 3)))
    torch.testing.assert_close(gray, luma(images)[:, None].expand(-1, 3, -1, -1), atol=1e-5, rtol=0)


def test_one_channel_has_brightness_and_contrast_only() -> None:
    images = 0.4 + 0.2 * floats(3, 8, 1)
    one = each(1.0, 3)
    torch.testing.assert_close(jitter(images, Jitter(one, one, each(0.0, 3), each(0.3, 3))), images, atol=1e-6, rtol=0)
    bright = jitter(images, Jitter(each(1.3, 3), one, one, each(0.0, 3)))
    torch.testing.assert_close(bright, images * 1.3, atol=1e-6, rtol=0)
    flat = jitter(images, Jitter(one, each(0.0, 3), one, each(0.0, 3)))
    torch.testing.assert_close(flat, mean_gray(images).view(3, 1, 1, 1).expand_as(images), atol=1e-6, rtol=0)


def test_jitter_is_drawn_within_its_strengths_and_as_often_as_asked() -> None:
    by = draw_jitter(
        Draws(0, 0, torch.arange(20000)),
        brightness=0.4,
        contrast=1.5,
        saturation=0.4,
        hue=0.1,
        probability=0.8,
        gray=0.2,
    )
    untouched = by.brightness == 1.0
    assert untouched.float().mean().item() == pytest.approx(0.2, abs=0.015)
    assert torch.equal(untouched, by.hue == 0.0)
    assert (by.saturation == 0.0).float().mean().item() == pytest.approx(0.2, abs=0.015)
    assert 0.6 <= by.brightness.min() <= by.brightness.max() <= 1.4
    assert 0.0 <= by.contrast.min() < 0.01
    assert by.hue.abs().max() <= 0.1


# --- blur ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_is_torchvisions(sigma: float) -> None:
    images = floats(2, 20)
    twin = tv.gaussian_blur(images, [7, 7], [sigma, sigma])
    torch.testing.assert_close(blur(images, each(sigma, 2), radius=3), twin, atol=1e-5, rtol=0)


def test_no_blur_is_the_image() -> None:
    images = floats(2, 12)
    torch.testing.assert_close(blur(images, each(0.0, 2), radius=2), images, atol=1e-6, rtol=0)


def test_sigmas_leave_as_many_sharp_as_asked() -> None:
    sigmas = draw_sigmas(Draws(0, 0, torch.arange(5000)))
    assert (sigmas == 0.0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert 0.1 <= sigmas[sigmas > 0].min() <= sigmas.max() < 2.0


def test_only_images_of_48_pixels_and_more_are_blurred() -> None:
    def sharpness(size: int) -> torch.Tensor:
        stripes = (torch.arange(size) % 2 * 255).to(torch.uint8)[:, None].expand(64, size, size, 3)
        views = augment(stripes, Draws(0, 0, torch.arange(64)), "simclr")
        return views.diff(dim=3).abs().amax(dim=(1, 2, 3))

    # The stripes of a blurred view vanish, so some views of the larger images have far less contrast than any smaller.
    assert sharpness(64).min() < 0.5 * sharpness(32).min()


# --- rotation --------------------------------------------------------------------------------------------------------


def test_rotations_by_quarter_turns_are_rot90() -> None:
    images, turns = floats(5, 9), torch.tensor([0, 1, 2, 3, 5])
    turned = torch.stack([image.rot90(turn, (1, 2)) for image, turn in zip(images, turns.tolist(), strict=True)])
    torch.testing.assert_close(rotate(images, 90.0 * turns), turned, atol=1e-4, rtol=0)


# --- RandAugment -----------------------------------------------------------------------------------------------------


def apply(name: str, images: torch.Tensor, sign: float = 1.0, spot: tuple[float, float] = (0.5, 0.5)) -> torch.Tensor:
    n = len(images)
    number = list(ra.OPERATIONS).index(name)
    return ra.randaugment(images, torch.full((n,), number), each(sign, n), torch.tensor([spot]).expand(n, 2))


@pytest.mark.parametrize("name", ra.OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_every_operation_changes_the_image_and_keeps_its_range(name: str, channels: int, sign: float) -> None:
    images = floats(4, 28, channels)
    changed = apply(name, images, sign)
    assert changed.shape == images.shape
    assert changed.min() >= 0.0
    assert changed.max() <= 1.0
    if not (name == "color" and channels == 1):
        assert (changed - images).abs().max() > 0.01


def to_pil(image: torch.Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("name", "twin", "off_by"),
    [
        ("invert", ImageOps.invert, 0),
        ("solarize", lambda image: ImageOps.solarize(image, 114), 0),
        ("posterize", lambda image: ImageOps.posterize(image, 6), 0),
        ("equalize", ImageOps.equalize, 0),
        ("autocontrast", ImageOps.autocontrast, 1),
        ("sharpness", lambda image: ImageEnhance.Sharpness(image).enhance(1.5), 2),
        ("brightness", lambda image: ImageEnhance.Brightness(image).enhance(1.5), 1),
        ("color", lambda image: ImageEnhance.Color(image).enhance(1.5), 2),
        ("contrast", lambda image: ImageEnhance.Contrast(image).enhance(1.5), 2),
    ],
)
def test_operations_are_those_of_pil(name: str, twin: object, off_by: int) -> None:
    images = floats(6, 28)
    for image, changed in zip(images, apply(name, images), strict=True):
        expected = np.asarray(twin(to_pil(image)), dtype=np.int64)  # type: ignore[operator]
        ours = (changed * 255).round().to(torch.int64).permute(1, 2, 0).numpy()
        assert np.abs(ours - expected).max() <= off_by


def test_translation_moves_a_quarter_of_the_side_either_way_onto_black() -> None:
    white = torch.ones(1, 1, 100, 100)
    for name, dim in (("translate-x", 2), ("translate-y", 1)):
        for sign in (-1.0, 1.0):
            lit = apply(name, white, sign)[0].mean(dim=3 - dim).squeeze()
            assert lit.sum().item() == pytest.approx(100 - 25.18, abs=0.6)
            assert bool(lit[0] < 0.5) == (sign < 0)


def test_rotation_and_shear_go_either_way() -> None:
    images = floats(2, 28)
    torch.testing.assert_close(apply("rotate", images, -1.0), rotate(images, each(-16.67, 2)))
    mirrored = apply("rotate", images.flip(3), 1.0).flip(3)
    torch.testing.assert_close(apply("rotate", images, -1.0), mirrored, atol=1e-4, rtol=0)
    sheared = apply("shear-x", images.flip(3), 1.0).flip(3)
    torch.testing.assert_close(apply("shear-x", images, -1.0), sheared, atol=1e-4, rtol=0)


def test_cutout_blackens_a_square_that_may_leave_the_image() -> None:
    white = torch.ones(1, 1, 100, 100)
    assert (apply("cutout", white) == 0).sum().item() == pytest.approx(44.4**2, rel=0.03)
    assert (apply("cutout", white, spot=(0.0, 0.0)) == 0).sum().item() == 22 * 22


def test_operations_are_drawn_evenly() -> None:
    operations, signs, spots = ra.draw_randaugment(Draws(0, 0, torch.arange(15000)))
    assert torch.bincount(operations, minlength=15).min() > 850
    assert signs.abs().eq(1).all()
    assert signs.mean().abs() < 0.05
    assert spots.shape == (15000, 2)
