"""Every expectation is made pair by pair, in plain loops, from the tensors of a batch."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from t3d.data.clips import ClipKey, EpochSampler, RngStream
from t3d.data.samples import UNLABELLED, Sample
from t3d.errors import DataError, DecodeError
from t3d.training.loop import Callbacks, Learner, fit
from t3d.transfer.matcher import Matcher, MatchingNetwork
from t3d.transfer.objective import TEMPERATURE, Matching, MatchingValidator, contrastive_loss, pairs_of
from t3d.transfer.pairs import LEFT_OUT, Draw, LivePictures, Pair, PairBatch, PairClips, Place, collate_pairs
from t3d.transfer.teacher_cache import TeacherCache, cache_facts, fill_cache, identity_of
from t3d.transfer.teachers import FrozenTeacher, load_teacher
from t3d.video.reader import ArrayVideo
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec

CLIP = ClipSpec(num_frames=4)
PIXELS = PixelSpec(resize=8, crop_size=8)
CPU = torch.device("cpu")
TEACHER_WIDTH = 5

MakeLearner = Callable[..., Learner]


class Colour(nn.Module):
    """A student that is linear in the mean colour of a clip."""

    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def embed(self, clips: Tensor) -> Tensor:
        """Map (B, 3, T, H, W) to (B, 4)."""
        return self.layer(clips.mean(dim=(2, 3, 4)))


def _network(*, view: int = TEACHER_WIDTH, seed: int = 0, normalise: bool = False) -> MatchingNetwork:
    torch.manual_seed(seed)
    return MatchingNetwork(Colour(), Matcher(student_features=4, teacher_features=view, normalise=normalise))


def _batch(matches: list[list[int]], videos: list[int]) -> PairBatch:
    """Random clips and teacher_views."""
    generator = torch.Generator().manual_seed(3)
    num_clips, num_views = len(matches), len(matches[0])
    clips = torch.randint(256, (num_clips, 3, 4, 8, 8), generator=generator, dtype=torch.uint8)
    teacher_views = torch.randn(num_clips, num_views, TEACHER_WIDTH, generator=generator)
    return PairBatch(clips, teacher_views, torch.tensor(matches), torch.tensor(videos), [])


def _pairs(matches: list[list[int]], videos: list[int], *, in_batch: bool) -> list[tuple[int, int, int]]:
    """Row of the clip, row of the view, answer."""
    pairs, answers = pairs_of(torch.tensor(matches), torch.tensor(videos), in_batch=in_batch)
    return [(clip, view, answer) for (clip, view), answer in zip(pairs.tolist(), answers.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("matches", "videos", "expected"),
    [
        ([[1], [1], [1]], [4, 5, 6], [(0, 0, 1), (1, 1, 1), (2, 2, 1), (0, 1, 0), (1, 2, 0), (2, 0, 0)]),
        # Two clips of one video side by side: each meets the next of another video, never its sibling.
        (
            [[1]] * 4,
            [7, 7, 2, 3],
            [(0, 0, 1), (1, 1, 1), (2, 2, 1), (3, 3, 1), (0, 2, 0), (1, 2, 0), (2, 3, 0), (3, 0, 0)],
        ),
        # Siblings at both ends: going round leads past them, too.
        ([[1]] * 3, [7, 2, 7], [(0, 0, 1), (1, 1, 1), (2, 2, 1), (0, 1, 0), (1, 2, 0), (2, 1, 0)]),
        ([[1]] * 3, [7, 7, 7], [(0, 0, 1), (1, 1, 1), (2, 2, 1)]),  # nobody to be told apart from
        ([[1]], [7], [(0, 0, 1)]),
        # A second view at another time; where there is none, it takes no part. Partners show their first view.
        (
            [[1, 0], [1, LEFT_OUT], [1, 0]],
            [4, 4, 6],
            [(0, 0, 1), (0, 1, 0), (1, 2, 1), (2, 4, 1), (2, 5, 0), (0, 4, 0), (1, 4, 0), (2, 0, 0)],
        ),
    ],
)
def test_pairs_in_a_batch_by_hand(
    matches: list[list[int]], videos: list[int], expected: list[tuple[int, int, int]]
) -> None:
    assert _pairs(matches, videos, in_batch=True) == expected


def test_given_pairs_by_hand() -> None:
    """Independent pairs have one view each, matching or not; held-out places have both."""
    assert _pairs([[1], [0], [1]], [4, 5, 6], in_batch=False) == [(0, 0, 1), (1, 1, 0), (2, 2, 1)]
    assert _pairs([[1, 0], [1, 0]], [4, 4], in_batch=False) == [(0, 0, 1), (0, 1, 0), (1, 2, 1), (1, 3, 0)]
    both = [[0, LEFT_OUT], [1, LEFT_OUT], [0, 0]]
    assert _pairs(both, [4, 5, 6], in_batch=False) == [(0, 0, 0), (1, 2, 1), (2, 4, 0), (2, 5, 0)]


@pytest.mark.parametrize("seed", range(20))
def test_no_mismatch_is_of_one_video(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    videos = torch.randint(4, (9,), generator=generator)
    pairs, answers = pairs_of(torch.ones(9, 1, dtype=torch.int64), videos, in_batch=True)
    mismatches = pairs[answers == 0]
    assert mismatches[:, 0].tolist() == (list(range(9)) if len(videos.unique()) > 1 else [])
    assert (videos[mismatches[:, 0]] != videos[mismatches[:, 1]]).all()
    assert (pairs[answers == 1] == torch.arange(9)[:, None]).all()


def _features(network: MatchingNetwork, batch: PairBatch) -> tuple[Tensor, Tensor]:
    """1024-wide features of the clips, and of all teacher_views row by row."""
    clips = (batch.clips.float() / 255 - 0.45) / 0.225
    motion = network.matcher.describe_clips(network.student.embed(clips))
    return motion, network.matcher.describe_pictures(batch.teacher_views.flatten(0, 1))


def _by_hand(network: MatchingNetwork, batch: PairBatch, pairs: list[tuple[int, int, int]]) -> tuple[Tensor, float]:
    """Summed loss and share of hits: half of it all by the matches, half by the others, where there are both."""
    motion, appearance = _features(network, batch)
    losses: dict[int, list[Tensor]] = {0: [], 1: []}
    hits: dict[int, list[bool]] = {0: [], 1: []}
    for clip, view, answer in pairs:
        (scores,) = network.matcher(appearance[view][None], motion[clip][None])
        losses[answer].append(-scores.log_softmax(dim=0)[answer])
        hits[answer].append(bool(scores[answer] > scores[1 - answer]))
    kinds = [kind for kind in (0, 1) if losses[kind]]
    loss = sum(torch.stack(losses[kind]).mean() for kind in kinds) / len(kinds)
    share = sum(sum(hits[kind]) / len(hits[kind]) for kind in kinds) / len(kinds)
    return batch.num_clips * loss, batch.num_clips * share


CASES = [
    ([[1], [1], [1], [1]], [7, 7, 2, 3], True),
    ([[1, 0], [1, LEFT_OUT], [1, 0]], [4, 4, 6], True),
    ([[1], [1]], [7, 7], True),
    ([[1], [0], [0], [0]], [1, 2, 3, 4], False),
    ([[1, 0], [1, 0], [1, 0]], [1, 1, 2], False),
    ([[0], [0]], [1, 2], False),
    ([[1]], [1], True),
]


@pytest.mark.parametrize(("matches", "videos", "in_batch"), CASES)
def test_loss_and_hits_are_those_of_a_plain_loop(matches: list[list[int]], videos: list[int], in_batch: bool) -> None:
    network, batch = _network().eval(), _batch(matches, videos)  # where a single clip is judged, too
    found = Matching(pixels=PIXELS, in_batch=in_batch).compute_loss(network, batch, CPU)
    loss, hits = _by_hand(network, batch, _pairs(matches, videos, in_batch=in_batch))
    torch.testing.assert_close(found.loss, loss, rtol=1e-4, atol=1e-5)
    assert found.num_correct == pytest.approx(hits, rel=1e-6)


class Says(nn.Module):
    """Scores every pair alike: a match by so much."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, clips: Tensor, teacher_views: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give (P, 2) scores, and features nobody reads."""
        scores = torch.tensor([0.0, self.margin]).expand(len(pairs), 2)
        return scores, torch.zeros(len(clips), 1), torch.zeros(len(teacher_views), 1)


@pytest.mark.parametrize(("matches", "videos", "in_batch"), CASES)
def test_who_always_says_the_same_is_right_on_half(matches: list[list[int]], videos: list[int], in_batch: bool) -> None:
    """Whatever the number of pairs of either kind: the kinds weigh alike, and all of them as much as the clips."""
    kinds = {answer for _, _, answer in _pairs(matches, videos, in_batch=in_batch)}
    objective, batch = Matching(pixels=PIXELS, in_batch=in_batch), _batch(matches, videos)
    for margin, said in ((1.0, 1), (-1.0, 0)):
        found = objective.compute_loss(Says(margin).eval(), batch, CPU)
        share = 0.5 if len(kinds) == 2 else float(said in kinds)
        assert found.num_correct == pytest.approx(share * len(matches))
        sure, unsure = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
        assert float(found.loss) == pytest.approx(len(matches) * (share * sure + (1 - share) * unsure))


@pytest.mark.parametrize("videos", [[1, 2, 3], [1, 1, 2, 3], [4, 4], [5]])
def test_the_contrastive_loss_is_that_of_a_double_loop(videos: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    motion, appearance = (torch.randn(len(videos), 6, generator=generator) for _ in range(2))
    terms = []
    for row, video in enumerate(videos):
        for first, second in ((motion, appearance), (appearance, motion)):
            cosines = {
                other: float(F.cosine_similarity(first[row], second[other], dim=0))
                for other, number in enumerate(videos)
                if number != video or other == row
            }
            total = sum(math.exp(cosine / 0.07) for cosine in cosines.values())
            terms.append(math.log(total) - cosines[row] / 0.07)
    found = contrastive_loss(motion, appearance, torch.tensor(videos))
    assert float(found) == pytest.approx(sum(terms) / len(terms), rel=1e-4, abs=1e-5)
    assert TEMPERATURE == 0.07


def test_what_is_left_out_of_the_contrastive_loss_does_no_harm_to_its_gradient() -> None:
    """Two clips of one video have nothing to be told from."""
    generator = torch.Generator().manual_seed(0)
    motion, appearance = (torch.randn(3, 6, generator=generator, requires_grad=True) for _ in range(2))
    contrastive_loss(motion, appearance, torch.tensor([1, 1, 2])).backward()
    assert all(torch.isfinite(value.grad).all() and value.grad.any() for value in (motion, appearance))
    alone = contrastive_loss(motion, appearance, torch.tensor([1, 1, 1]))
    assert float(alone.detach()) == 0.0


@pytest.mark.parametrize("matches", [[[1], [1], [1]], [[1, 0], [1, LEFT_OUT], [1, 0]]])
def test_the_contrastive_loss_is_added_for_the_first_looks(matches: list[list[int]]) -> None:
    network, batch = _network(), _batch(matches, [4, 4, 6])
    plain = Matching(pixels=PIXELS).compute_loss(network, batch, CPU)
    added = Matching(pixels=PIXELS, contrastive=0.3).compute_loss(network, batch, CPU)
    motion, appearance = _features(network, batch)
    own = torch.stack([appearance[row * len(matches[0])] for row in range(3)])
    expected = plain.loss + 0.3 * 3 * contrastive_loss(motion, own, batch.videos)
    torch.testing.assert_close(added.loss, expected)
    assert added.num_correct == plain.num_correct


def test_the_student_sees_its_own_modality() -> None:
    """Of differences, the mean colour of a clip is that of its changes."""
    network, batch = _network(), _batch([[1], [1]], [1, 2])
    pixels = replace(PIXELS, modality="difference")
    changes = (batch.clips.float() / 255 / 0.225).diff(dim=2)
    changes = torch.cat([changes, changes[:, :, 2:]], dim=2)
    motion = network.matcher.describe_clips(network.student.embed(changes))
    appearance = network.matcher.describe_pictures(batch.teacher_views.flatten(0, 1))
    rows = torch.tensor([[0, 0], [1, 1], [0, 1], [1, 0]])
    scores = network.matcher(appearance[rows[:, 1]], motion[rows[:, 0]])
    loss = F.cross_entropy(scores, torch.tensor([1, 1, 0, 0])) * 2
    torch.testing.assert_close(Matching(pixels=pixels).compute_loss(network, batch, CPU).loss, loss)


def test_an_update_is_the_weights_minus_rate_times_gradient(learner: MakeLearner, no_callbacks: Callbacks) -> None:
    matches, videos = [[1, 0], [1, LEFT_OUT], [1, 0]], [4, 4, 6]
    batch, reference = _batch(matches, videos), _network()
    loss, _ = _by_hand(reference, batch, _pairs(matches, videos, in_batch=True))
    grads = torch.autograd.grad(loss / 3, list(reference.parameters()))
    done = learner(_network(), lr=0.1)
    _fit_batches(done, [batch], Matching(pixels=PIXELS), no_callbacks)
    for found, before, grad in zip(done.network.parameters(), reference.parameters(), grads, strict=True):
        torch.testing.assert_close(found.detach(), (before - 0.1 * grad).detach(), rtol=1e-4, atol=1e-5)
    student = [name for name, _ in done.network.named_parameters() if name.startswith("student.")]
    assert student == ["student.layer.weight", "student.layer.bias"]
    assert all(grad.any() for grad in grads)


def _fit_batches(learner: Learner, batches: list[PairBatch], objective: Matching, callbacks: Callbacks) -> None:
    """One update on these very batches."""
    loader: DataLoader[PairBatch] = DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)
    sampler = EpochSampler(len(batches), batch_size=1, seed=0)
    fit(learner, loader, sampler, objective=objective, num_steps=1, seed=0, callbacks=callbacks)


def test_nothing_is_learnt_from_a_clip_left_alone(learner: MakeLearner, no_callbacks: Callbacks) -> None:
    """A match without a mismatch teaches to say yes to everything."""
    alone = _batch([[1]], [1])
    broken = alone._replace(failures=["a: truncated", "b: truncated"])
    with pytest.raises(DataError, match=r"a batch but one cannot be decoded, first: a: truncated$"):
        _fit_batches(learner(_network()), [broken], Matching(pixels=PIXELS, skip_bad_videos=True), no_callbacks)
    with pytest.raises(DataError, match="nothing to be told apart from; give more videos"):
        _fit_batches(learner(_network()), [alone], Matching(pixels=PIXELS), no_callbacks)


def test_accumulated_parts_add_up(learner: MakeLearner, no_callbacks: Callbacks) -> None:
    """Parts do not see each other: the update is that of the mean of their losses over all clips."""
    whole, reference = _batch([[1]] * 5, [1, 2, 3, 4, 5]), _network()
    parts = [PairBatch(*(value[rows] for value in whole[:4]), []) for rows in (slice(0, 2), slice(2, 5))]
    losses = [
        _by_hand(reference, part, _pairs(part.matches.tolist(), part.videos.tolist(), in_batch=True))[0]
        for part in parts
    ]
    grads = torch.autograd.grad((losses[0] + losses[1]) / 5, list(reference.parameters()))
    done = learner(_network(), lr=0.1)
    _fit_batches(done, parts, Matching(pixels=PIXELS, accumulate=2), no_callbacks)
    for found, before, grad in zip(done.network.parameters(), reference.parameters(), grads, strict=True):
        torch.testing.assert_close(found.detach(), (before - 0.1 * grad).detach(), rtol=1e-4, atol=1e-5)


# Videos on disk in name only: pictures that are mirror images of themselves, so that flips change nothing.


def _open(path: Path) -> ArrayVideo:
    if "bad" in path.name:
        raise DecodeError(f"{path}: truncated")
    generator = torch.Generator().manual_seed(sum(map(ord, path.name)))
    half = torch.randint(256, (14, 8, 4, 3), generator=generator, dtype=torch.uint8)
    return ArrayVideo(torch.cat([half, half.flip(2)], dim=2), name=path.name)


@pytest.fixture
def places(tmp_path: Path) -> Callable[..., list[Place]]:
    def create(*names: str, starts: tuple[int | None, ...] = (0, 7)) -> list[Place]:
        made = []
        for name in names:
            (tmp_path / name).touch()
            sample = Sample(name=name, path=tmp_path / name, label=UNLABELLED, group=name)
            made += [Place(sample=sample, start=start) for start in starts]
        return made

    return create


def _clips(
    places: list[Place], teacher_views: Tensor | LivePictures, *, draw: Draw = "own", seed: int = 0
) -> PairClips:
    return PairClips(
        places, teacher_views, draw=draw, clip=CLIP, pixels=PIXELS, augment=AugmentSpec(), open_video=_open, seed=seed
    )


class Sharp(nn.Module):
    """A small convolution with batch normalisation: a teacher that would change if it were let."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, TEACHER_WIDTH, 3)
        with torch.no_grad():
            self.conv.weight.copy_((self.conv.weight + self.conv.weight.flip(3)) / 2)
        self.norm = nn.BatchNorm2d(TEACHER_WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, 5)."""
        return self.norm(self.conv(images)).square().mean(dim=(2, 3))


def _teacher() -> FrozenTeacher:
    pixels = PixelSpec(resize=8, crop_size=8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    return FrozenTeacher(Sharp(), name="sharp", num_features=TEACHER_WIDTH, pixels=pixels)


def test_live_pictures_become_the_mean_features_of_each_look() -> None:
    teacher = _teacher()
    batch = _batch([[1, 0], [1, 0]], [1, 2])
    pictures = torch.randint(256, (2, 2, 3, 4, 8, 8), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (teacher.pixels.mean, teacher.pixels.std))
    features = torch.zeros(2, 2, TEACHER_WIDTH)
    for clip in range(2):
        for view in range(2):
            seen = [teacher(((pictures[clip, view, :, x] / 255 - mean) / std)[None])[0] for x in range(4)]
            features[clip, view] = sum(seen) / 4
    live = Matching(pixels=PIXELS, teacher=teacher).compute_loss(
        _network(), batch._replace(teacher_views=pictures), CPU
    )
    cached = Matching(pixels=PIXELS).compute_loss(_network(), batch._replace(teacher_views=features), CPU)
    torch.testing.assert_close(live.loss, cached.loss)
    assert live.num_correct == cached.num_correct


@pytest.mark.parametrize("kind", ["sharp", "colour_statistics"])
@pytest.mark.parametrize("num_pictures", [2, 4])
def test_live_and_cached_teachers_say_the_same_of_the_same_pictures(
    kind: str, num_pictures: int, places: Callable[..., list[Place]], tmp_path: Path
) -> None:
    """Fixed windows, pictures that need no crop and are their own mirror images."""
    teacher = _teacher() if kind == "sharp" else load_teacher(kind, size=8)
    teacher.pixels = replace(teacher.pixels, resize=8)
    facts = cache_facts(teacher, clip=CLIP, num_pictures=num_pictures, most=2)
    videos = places("a.mp4", "b.mp4", starts=(None,))
    fixed, features = [], []
    with TeacherCache(tmp_path / "cache.sqlite", facts) as cache:
        assert fill_cache(cache, teacher, [place.sample for place in videos], num_workers=0, source=_open) == []
        for place in videos:
            video = cache.get(identity_of(place.sample))
            assert video is not None
            fixed += [replace(place, start=start) for start in video.starts]
            features.append(video.features)
    cached = _clips(fixed, torch.cat(features))
    live = _clips(fixed, LivePictures(pixels=teacher.pixels, num_pictures=num_pictures))
    network = _network(view=teacher.num_features)
    outcomes = []
    for pairs, own in ((cached, None), (live, teacher)):
        batch = collate_pairs([pairs[ClipKey(0, index)] for index in range(4)])
        outcomes.append(Matching(pixels=PIXELS, teacher=own, in_batch=True).compute_loss(network, batch, CPU))
        assert batch.videos.tolist() == [0, 0, 1, 1]
    # The flip of a clip is drawn after the teacher_views, so it may differ; the student sees mean colours only.
    torch.testing.assert_close(outcomes[0].loss, outcomes[1].loss, rtol=1e-5, atol=1e-6)
    assert outcomes[0].num_correct == outcomes[1].num_correct


def test_a_live_teacher_learns_nothing(learner: MakeLearner, no_callbacks: Callbacks) -> None:
    teacher = _teacher()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    pictures = torch.randint(256, (3, 1, 3, 2, 8, 8), dtype=torch.uint8)
    batch = _batch([[1]] * 3, [1, 2, 3])._replace(teacher_views=pictures)
    teacher.network.train()
    done = learner(_network(), weight_decay=0.1)
    _fit_batches(done, [batch], Matching(pixels=PIXELS, teacher=teacher), no_callbacks)
    assert done.progress.step == 1
    assert all(value.equal(before[name]) for name, value in teacher.state_dict().items())


@pytest.fixture
def held_out(places: Callable[..., list[Place]]) -> PairClips:
    made = places("a.mp4", "b.mp4", "c.mp4")
    return _clips(made, torch.randn(6, TEACHER_WIDTH, generator=torch.Generator().manual_seed(5)), draw="both")


def _validator(pairs: PairClips, *, batch_size: int = 4, num_workers: int = 0) -> MatchingValidator:
    objective = Matching(pixels=PIXELS, in_batch=False)
    return MatchingValidator(pairs, objective, batch_size=batch_size, num_workers=num_workers)


def _judged(network: MatchingNetwork, pairs: PairClips, indices: list[int]) -> tuple[float, float]:
    """Mean over the places of half a match and half a mismatch, one at a time."""
    loss_sum, hit_sum = 0.0, 0.0
    for index in indices:
        pair = pairs[ClipKey(RngStream.HELD_OUT_PAIRS, index)]
        assert isinstance(pair, Pair)
        loss, hits = _by_hand(network.eval(), collate_pairs([pair]), [(0, 0, 1), (0, 1, 0)])
        loss_sum, hit_sum = loss_sum + loss.item(), hit_sum + hits
    return loss_sum / len(indices), hit_sum / len(indices)


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (4, 0), (6, 2)])
@pytest.mark.parametrize("normalise", [False, True])
def test_held_out_figures_by_hand(
    batch_size: int, num_workers: int, normalise: bool, held_out: PairClips, learner: MakeLearner
) -> None:
    judge = _validator(held_out, batch_size=batch_size, num_workers=num_workers)
    found = judge(learner(_network(normalise=normalise)))
    expected = _judged(_network(normalise=normalise), held_out, list(range(6)))
    assert found == pytest.approx(expected, rel=1e-4)


def test_held_out_pairs_are_the_same_every_time(held_out: PairClips, learner: MakeLearner) -> None:
    judge = _validator(held_out)
    judged = learner(_network())
    first = judge(judged)
    judged.progress.epoch = 3
    torch.rand(7)
    assert judge(judged) == first
    before = {name: value.clone() for name, value in judged.network.state_dict().items()}
    assert all(value.equal(before[name]) for name, value in _network().state_dict().items())
    epochs = [[held_out[ClipKey(epoch, index)].teacher_views for index in range(6)] for epoch in range(8)]  # type: ignore[union-attr]
    same = [held_out[ClipKey(RngStream.HELD_OUT_PAIRS, index)].teacher_views for index in range(6)]  # type: ignore[union-attr]
    assert not any(all(a.equal(b) for a, b in zip(epoch, same, strict=True)) for epoch in epochs)


def test_the_average_is_what_is_judged(held_out: PairClips, learner: MakeLearner) -> None:
    averaged = learner(_network(), ema_decay=0.9)
    judge = _validator(held_out)
    before = judge(averaged)
    with torch.no_grad():
        averaged.network.matcher.head[4].bias.copy_(torch.tensor([9.0, 0.0]))
    assert judge(averaged) == before
    with torch.no_grad():
        averaged.result.matcher.head[4].bias.copy_(torch.tensor([9.0, 0.0]))
    assert judge(averaged)[1] == 0.5


@pytest.mark.parametrize("batch_size", [1, 4])
def test_broken_held_out_videos_are_left_out(
    batch_size: int, places: Callable[..., list[Place]], learner: MakeLearner
) -> None:
    made = places("a.mp4", "bad.mp4", "c.mp4")
    pairs = _clips(made, torch.randn(6, TEACHER_WIDTH, generator=torch.Generator().manual_seed(5)), draw="both")
    found = _validator(pairs, batch_size=batch_size)(learner(_network()))
    assert found == pytest.approx(_judged(_network(), pairs, [0, 1, 4, 5]), rel=1e-4)


def test_held_out_videos_that_are_all_broken_give_zeros(
    places: Callable[..., list[Place]], learner: MakeLearner
) -> None:
    pairs = _clips(places("bad1.mp4", "bad2.mp4"), torch.zeros(4, TEACHER_WIDTH), draw="both")
    assert _validator(pairs)(learner(_network())) == (0.0, 0.0)
