"""Query strategies beside the authors' code, with the same model: predictions, features and weights."""

from __future__ import annotations

import argparse
import contextlib
import io
import types
from unittest import mock

import numpy as np

from authors.pools import pycls
from authors.shims import (
    LABELED,
    NOTHING,
    KMeansOfOurs,
    ResultRow,
    Settings,
    choose,
    compares,
    same_picks,
    source,
    stub,
)
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.sampling import draw
from initpools_cli.strategies.kmeans import kmeans as nearest_to_centroids
from initpools_cli.strategies.registry import strategies

#: Random starts of `badge`.
SEEDS = 100
#: Largest radii of `dcom`.
MOST_DELTAS = (0.9, 1.0, 1.1)
#: Predictions of dropout passes: (passes, images, classes).
PASSES = (10, 2000, 10)


def random_passes(*shape):
    return np.random.default_rng(0).dirichlet(np.ones(shape[-1]), shape[:-1])


def linear(head):
    """A linear layer with our weights."""
    import torch

    layer = torch.nn.Linear(*(each - (place == 0) for place, each in enumerate(head.shape))).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head[:-1].T))
        layer.bias.copy_(torch.from_numpy(head[-1]))
    return layer


@compares("bald", "badge")
def bald(folder, inputs):
    """From the same predictions of 10 passes with dropout."""
    import torch

    modules = {
        "query_strategies": stub("query_strategies"),
        "query_strategies.strategy": stub("query_strategies.strategy", Strategy=object),
    }
    file = folder / "query_strategies/bayesian_active_learning_disagreement_dropout.py"
    theirs = source(file, "query_strategies.bald", **modules)
    probs = random_passes(*PASSES)
    net = types.SimpleNamespace(
        n_pool=2000, idxs_lb=np.zeros(2000, bool), X=np.zeros(2000), Y=torch.zeros(2000), n_drop=10
    )
    net.predict_prob_dropout_split = lambda *words: torch.from_numpy(probs)
    their_picks = theirs.BALDDropout.query(net, 100)
    yield same_picks("bald", choose("bald", probs, NOTHING, 100).indices, their_picks, data="2000 random predictions")


@compares("badge", "badge")
def badge(folder, inputs):
    """Mean, over SEEDS seeds, of the sum of squared distances of gradients to 20 picks: ours over theirs."""
    from scipy import stats

    text = (folder / "query_strategies/badge_sampling.py").read_text()
    names = {"np": np, "stats": stats}
    exec(text[text.index("def distance(") : text.index("class BadgeSampling")], names)
    rng = np.random.default_rng(0)
    features, probs = rng.normal(size=(1000, 16)).astype(np.float32), rng.dirichlet(np.ones(5) / 3, 1000)
    errors = -probs
    errors[np.arange(1000), probs.argmax(1)] += 1
    gradients = (errors[:, :, None] * features[:, None]).reshape(1000, -1)

    def potential(picks):
        gaps = ((gradients[:, None] - gradients[picks][None]) ** 2).sum(2)
        return gaps.min(1).sum()

    ours, theirs = [], []
    for seed in range(SEEDS):
        own = strategies.get("badge").build(features, probs, NOTHING, 20, generator(seed, "badge")).indices
        ours.append(potential(own))
        # Their code draws from the global generator.
        np.random.seed(seed)  # noqa: NPY002 - see above
        state = (set(), [], None, None)
        with contextlib.redirect_stdout(io.StringIO()):
            for _ in range(20):
                state = names["init_centers"]((errors, (errors**2).sum(1)), (features, (features**2).sum(1)), *state)
        theirs.append(potential(state[1]))
    ratio = np.mean(ours) / np.mean(theirs)
    error = ratio * np.hypot(*(np.std(each) / np.mean(each) / np.sqrt(SEEDS) for each in (ours, theirs)))
    about = {"labels": 20, "seeds": SEEDS, "data": "1000 random predictions"}
    yield ResultRow(
        "objective", "badge", "ours over theirs", ratio, ratio - 1.96 * error, ratio + 1.96 * error, **about
    )


@compares("dcom", "TypiClust")
def dcom(folder, inputs):
    """A second round: the radii of all labeled images, and then the picks.

    Their radii are not rounded, and ties go to the lower index, as in ours. Their code works in blocks of 700 images
    and leaves out the last one if it is not full.
    """
    import torch

    inputs = inputs.part(1400)
    cfg, modules = pycls(inputs.points.astype(np.float64), K_LOGISTIC=50, A_LOGISTIC=0.8, DELTA_RESOLUTION=0.05)
    cfg["TRAIN"] = Settings(BATCH_SIZE=len(inputs.points))
    theirs = source(folder / "deep-al/pycls/al/DCoM.py", "dcom", **modules)
    classes = inputs.probs.argmax(axis=1)
    classes[inputs.labeled] = inputs.labels[inputs.labeled]
    data = types.SimpleNamespace(
        getSequentialDataLoader=lambda indexes, **words: [(torch.from_numpy(inputs.logits[indexes]), None)]
    )
    theirs.round = lambda value, digits: value
    words = (cfg, inputs.labeled, inputs.unlabeled, 50)
    # Largest radii: most images are covered with the last one, where the weight of uncertainty is almost 1.
    for most in MOST_DELTAS:
        with (
            mock.patch.object(np, "float", float, create=True),
            mock.patch.object(np, "argsort", lambda values: np.lexsort((-np.arange(len(values)), values))),
        ):
            first = theirs.DCoM(*words, [0.5] * LABELED, most)
            radii = first.new_centroids_deltas(classes[inputs.labeled], classes, LABELED, all_labels=classes)
            their_picks = theirs.DCoM(*words, radii, most).select_samples(torch.nn.Identity(), None, data)[0]
        knobs = {"probs": inputs.probs, "labels": inputs.bought, "delta": 0.5, "max_delta": most}
        own = choose("dcom", inputs.points, inputs.labeled, 50, seed="dcom", **knobs)
        yield same_picks(f"dcom, max_delta={most}", own.indices, their_picks, **inputs.about)


@compares("uherding", "uherding")
def uherding(folder, inputs):
    """With temperature 1, and all unlabeled images as candidates."""
    import torch

    inputs = inputs.part(1000)
    cfg, modules = pycls(inputs.points)
    theirs = source(folder / "deep-al/pycls/al/uherding.py", "uherding", **modules)
    kernel = theirs.RBFKernel("cpu")
    logits = torch.from_numpy(inputs.logits.astype(np.float32))

    class Model(torch.nn.Module):
        def forward(self, rows, _):
            return {"preds": logits[rows]}

    class Loader(list):
        dataset = types.SimpleNamespace()

    data = types.SimpleNamespace(
        getSequentialDataLoader=lambda indexes, **words: Loader(
            [(torch.from_numpy(indexes), torch.zeros(len(indexes)))]
        )
    )
    for name, own_name in (("margin", "margin"), ("entropy", "entropy"), ("conf", "confidence")):
        cfg["ACTIVE_LEARNING"] |= Settings(
            UNC_TRANS_FN="identity", SAMPLING_FN=f"uherding_{name}", NORMALIZE=True, ADAPTIVE_DELTA=True, TEMP=1.0
        )
        cfg |= Settings(EXP_DIR="", COVERAGE_PATH="", UNCERTAINTY_PATH="", INDICES_PATH="", LOGIT_PATH="")
        with (
            mock.patch.object(theirs.UHerding, "construct_kernel_fn", lambda self, **words: kernel),
            mock.patch.object(theirs.UHerding, "save_results", lambda self, *words: None),
        ):
            words = (cfg, inputs.labeled, inputs.unlabeled, 50, 1.0, Model())
            herding = theirs.UHerding(*words, dataObj=data, dataset=inputs.labels, device="cpu", permute=False)
            their_picks = herding.select_samples()[0]
        own = choose(
            "uherding", inputs.points, inputs.labeled, 50, seed="uherding", probs=inputs.probs, uncertainty=own_name
        )
        yield same_picks(f"uherding, uncertainty={own_name}", own.indices, their_picks, **inputs.about)


@compares("clue", "CLUE")
def clue(folder, inputs):
    """With the same clusters of unlabeled images."""
    import torch

    # Tabs and spaces are mixed, which Python 3 refuses.
    text = (folder / "CLUE.py").read_text().expandtabs(4)
    utils = stub("utils", ActualSequentialSampler=lambda rows: rows)
    base = stub("sampling", SamplingStrategy=object)
    text = "from sampling import SamplingStrategy\nimport utils\n" + text
    theirs = source(folder / "CLUE.py", "clue", text, utils=utils, sampling=base)
    rows = inputs.unlabeled
    state = types.SimpleNamespace(
        train_idx=np.arange(len(inputs.points)), idxs_lb=np.isin(np.arange(len(inputs.points)), inputs.labeled)
    )
    state.model, state.dset, state.T = torch.nn.Identity(), list(range(len(inputs.points))), 1.0
    state.args = argparse.Namespace(cnn="ResNet18", batch_size=128)
    state.device, state.num_classes = "cpu", 10
    outputs = (torch.from_numpy(inputs.logits[rows]), None, None, torch.from_numpy(inputs.points[rows]))
    state.get_embedding = lambda *words, **options: outputs
    for budget in (20, 100):
        theirs.KMeans = lambda k: KMeansOfOurs(generator(0, "clusters"), k)
        their_picks = theirs.CLUESampling.query(state, budget)
        own = choose("clue", inputs.points, inputs.probs, inputs.labeled, budget, seed="clusters")
        yield same_picks("clue", own.indices, their_picks, ordered=False, **inputs.about)


@compares("falcun", "falcun")
def falcun(folder, inputs):
    """With the same random numbers."""
    import torch

    modules = {
        "falcun_code": stub("falcun_code"),
        "falcun_code.strategy": stub("falcun_code.strategy", Strategy=object),
    }
    theirs = source(folder / "src/deepal/query_strategies/falcun.py", "falcun_code.falcun", **modules).Falcun
    state = object.__new__(theirs)
    vars(state).update(deterministic=False, gamma=10, custom_dist="distance_unc_norm")
    probs = inputs.probs[inputs.unlabeled]
    rng = generator(0, "falcun")

    def drawn(values, size, p=None):
        shares = np.ones(len(values)) if p is None else np.asarray(p, np.float64)
        return values[[draw(shares, np.ones(len(values), bool), rng)]]

    with mock.patch.object(np.random, "choice", drawn):
        uncertain = state.get_unc(torch.from_numpy(probs)).numpy()
        their_picks = inputs.unlabeled[state.get_indices(100, probs, uncertain)]
    own = choose("falcun", inputs.probs, inputs.labeled, 100, seed="falcun")
    yield same_picks("falcun", own.indices, their_picks, **inputs.about)


@compares("epig", "epig")
def epig(folder, inputs):
    """From the same predictions of 10 passes with dropout, and with the same targets."""
    import torch

    package = {"src": stub("src"), "src.uncertainty": stub("src.uncertainty")}
    for name in ("src.uncertainty.utils", "src.uncertainty.bald_probs", "src.uncertainty.epig_probs"):
        package[name] = source(folder / (name.replace(".", "/") + ".py"), name, **package)
    probs = random_passes(10, 1000, 10)
    targets = generator(0, "epig").choice(1000, 100, replace=False)
    pool = torch.from_numpy(probs.swapaxes(0, 1).copy())
    scores = package["src.uncertainty.epig_probs"].epig_from_probs(pool, pool[np.sort(targets)]).numpy()
    own = choose("epig", probs, NOTHING, 100, seed="epig")
    their_picks = np.argsort(-scores, kind="stable")[:100]
    yield same_picks("epig", own.indices, their_picks, data="1000 random predictions")


@compares("galaxy", "GALAXY")
def galaxy(folder, inputs):
    """Where the predicted class of an unlabeled image is its label, as it is in ours for picks of the same batch."""
    package = {"src": stub("src")}
    for name in ("src.graph", "src.multiclass.multi_linear_graph", "src.s2algorithm"):
        package[name] = source(folder / (name.replace(".", "/") + ".py"), name, **package)
    classes = inputs.probs.argmax(axis=1)
    classes[inputs.labeled] = inputs.labels[inputs.labeled]
    graph = package["src.multiclass.multi_linear_graph"].create_linear_graphs(inputs.probs.copy(), classes, "graph")
    for row in inputs.labeled:
        graph.label(row)
    their_picks = []
    for _ in range(50):
        row, other = package["src.s2algorithm"].bisection_query(graph)
        their_picks.append(int(other if row is None else row))
        graph.label(their_picks[-1])
    own = choose("galaxy", inputs.probs, inputs.labeled, 50, seed="galaxy", labels=inputs.bought)
    yield same_picks("galaxy", own.indices, their_picks, **inputs.about)


@compares("noise-stability", "AL-noise-stability")
def noise_stability(folder, inputs):
    """With the same noise; the last layer is the whole model."""
    import torch

    names = {
        "config": stub("config", NOISE_SCALE=1e-3, SUBSET=len(inputs.unlabeled), ADDENDUM=50),
        "query_models": stub("query_models", VAE=None, Discriminator=None, GCN=None),
        "sampler": stub("sampler", SubsetSequentialSampler=None),
        "kcenterGreedy": stub("kcenterGreedy", kCenterGreedy=None),
        "backbone": stub("backbone"),
        "dppy": stub("dppy"),
        "dppy.finite_dpps": stub("dppy.finite_dpps", FiniteDPP=None),
        "dppy.utils": stub("dppy.utils", example_eval_L_linear=None),
    }
    theirs = source(folder / "noise_stability.py", "noise_stability", **names)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = linear(inputs.head)

        def forward(self, rows):
            return self.last(rows), None, None

    rng = generator(0, "noise")
    traversal, results = theirs.kcenter_greedy, []
    loader = [(torch.from_numpy(inputs.points[inputs.unlabeled]).double(), None, None)]
    with (
        mock.patch.object(torch, "randn", lambda size: torch.from_numpy(rng.standard_normal(tuple(size)[::-1]).T)),
        mock.patch.object(theirs, "kcenter_greedy", lambda *words: results.append(traversal(*words)) or results[-1]),
    ):
        options = argparse.Namespace(dataset="cifar10", n_sampling=30)
        theirs.noise_stability_sampling({"backbone": Model()}, loader, options)
    own = choose("noise-stability", inputs.points, inputs.head, inputs.labeled, 50, seed="noise")
    yield same_picks("noise-stability", own.indices, inputs.unlabeled[results[0][0].numpy()], **inputs.about)


@compares("alfamix", "alpha_mix_active_learning")
def alfamix(folder, inputs):
    """With the same clusters of candidates; the setting of the closed form in the authors' README."""
    import torch

    modules = {"alfa": stub("alfa"), "alfa.strategy": stub("alfa.strategy", Strategy=object)}
    theirs = source(folder / "query_strategies/alpha_mix_sampling.py", "alfa.alpha_mix_sampling", **modules)
    layer = linear(inputs.head).float()
    points = torch.from_numpy(inputs.points)
    state = object.__new__(theirs.AlphaMixSampling)
    vars(state).update(
        query_count=0,
        idxs_lb=np.isin(np.arange(len(points)), inputs.labeled),
        n_pool=len(points),
        X=np.arange(len(points)),
        Y=torch.from_numpy(inputs.labels),
        device="cpu",
        writer=mock.Mock(),
        args=argparse.Namespace(alpha_closed_form_approx=True, alpha_cap=0.2, n_label=10),
        model=types.SimpleNamespace(clf=lambda rows, embedding: (layer(rows), None)),
        predict_prob_embed=lambda rows, _: (layer(points[rows]).softmax(1).detach(), points[rows]),
    )
    for budget in (20, 100):
        theirs.KMeans = lambda n_clusters: KMeansOfOurs(generator(0, "clusters"), n_clusters)
        their_picks = state.query(budget)[0]
        words = (inputs.points, inputs.head, inputs.labeled, budget)
        own = choose("alfamix", *words, seed="clusters", labels=inputs.bought)
        yield same_picks("alfamix", own.indices, their_picks, ordered=False, **inputs.about)


@compares("cdal", "CDAL")
def cdal(folder, inputs):
    """From our first pick, which they draw. Their number of classes is 19, and an image has a prediction of each."""
    theirs = source(folder / "CDAL_CS.py", "cdal")
    probs = np.random.default_rng(0).dirichlet(np.ones(19), 600)
    labeled = np.arange(20)
    own = choose("cdal", probs, labeled, 20).indices
    with mock.patch.object(np.random, "choice", lambda every: own[0]):
        their_picks = theirs.kCenterGreedy(np.tile(probs, (1, 19))).select_batch(labeled.tolist(), 20)
    yield same_picks("cdal", own, their_picks, data="600 random predictions")


@compares("dropquery", "AL-foundation-models")
def dropquery(folder, inputs):
    """With the same dropped features, and the same clusters of candidates."""
    import torch
    from scipy.special import softmax

    inputs = inputs.part(1000)
    layer = linear(inputs.head)
    points = torch.from_numpy(inputs.points)
    for budget in (10, 50):
        rng = generator(0, "dropquery")
        # Our code draws the seed of the dropout first, and the features of all images in one block.
        dropout_rng = generator(int(rng.integers(2**63)), 0)
        # Their clusters are replaced by ours.
        clusters = stub(
            "ALFM.src.clustering.kmeans",
            cluster_features=lambda rows, k, rng=rng: (nearest_to_centroids(rows, NOTHING, k, rng).indices, None),
        )
        base = stub("ALFM.src.query_strategies.base_query", BaseQuery=object)
        package = {
            name: stub(name) for name in ("ALFM", "ALFM.src", "ALFM.src.clustering", "ALFM.src.query_strategies")
        }
        modules = {**package, clusters.__name__: clusters, base.__name__: base}
        theirs = source(folder / "ALFM/src/query_strategies/dropout.py", "alfm_dropout", **modules)

        def predict_with_dropout(rows, dropout=False, dropout_rng=dropout_rng):
            points_with_dropout = inputs.points * (dropout_rng.random(inputs.points.shape, np.float32) >= 0.75)
            logits = points_with_dropout @ (inputs.head[:-1] / 0.25) + inputs.head[-1]
            return torch.from_numpy(softmax(logits[inputs.unlabeled], axis=1))

        def plain(rows):
            return layer(torch.from_numpy(rows).double()).detach(), torch.from_numpy(rows)

        state = theirs.Dropout(3)
        vars(state).update(
            features=inputs.points,
            labeled_pool=np.isin(np.arange(len(points)), inputs.labeled),
            model=types.SimpleNamespace(get_probs=predict_with_dropout, get_probs_and_embedding=plain),
        )
        their_picks = np.flatnonzero(state.query(budget))
        own = choose("dropquery", inputs.points, inputs.head, inputs.labeled, budget, seed="dropquery")
        yield same_picks("dropquery", own.indices, their_picks, ordered=False, **inputs.about)


@compares("batchbald", "batchbald_redux")
def batchbald(folder, inputs):
    """While the joint entropy is exact; needs the package toma."""
    import torch

    package = {"batchbald_redux": stub("batchbald_redux")}
    for name in ("joint_entropy", "batchbald"):
        full = f"batchbald_redux.{name}"
        package[full] = source(folder / f"batchbald_redux/{name}.py", full, **package)
        setattr(package["batchbald_redux"], name, package[full])
    probs = random_passes(10, 500, 4)
    logs = torch.from_numpy(np.log(probs.swapaxes(0, 1)).copy())
    # 4^5 combinations of labels.
    their_picks = package["batchbald_redux.batchbald"].get_batchbald_batch(logs, 6, 4**5, dtype=torch.double).indices
    own = choose("batchbald", probs, NOTHING, 6, seed="batchbald", samples=4**5)
    yield same_picks("batchbald", own.indices, their_picks, data="500 random predictions")


@compares("bait", "GALAXY")
def bait(folder, inputs):
    """From the same gradients, with nothing labeled and after labels; the clone has the authors' code of BAIT, too."""
    import torch

    modules = {"torchfile": stub("torchfile"), "bait_code": stub("bait_code")}
    modules["bait_code.strategy"] = stub("bait_code.strategy", Strategy=object)
    theirs = source(folder / "src/bait/query_strategies/bait_sampling.py", "bait_code.bait_sampling", **modules)
    # Collecting garbage would take most of the time.
    theirs.gc = types.SimpleNamespace(collect=lambda: None)
    rng = np.random.default_rng(0)
    features, probs = rng.normal(size=(300, 16)).astype(np.float32), rng.dirichlet(np.ones(5), 300)
    errors = np.sqrt(probs)[:, :, None] * (np.eye(5) - probs[:, None])
    gradients = torch.from_numpy((errors[:, :, :, None] * features[:, None, None]).reshape(300, 5, 80))
    squares = torch.einsum("nca,ncb->nab", gradients, gradients)
    for labeled in (0, 50):
        labeled_mean = squares[:labeled].mean(dim=0) if labeled else torch.zeros(80, 80, dtype=torch.double)
        words = (gradients[labeled:], 20, squares.mean(dim=0), labeled_mean)
        their_picks = labeled + np.array(theirs.select(*words, lamb=1, backwardSteps=1, nLabeled=labeled))
        own = choose("bait", features, probs, np.arange(labeled), 20)
        about = {"data": f"300 random predictions, {labeled} labeled"}
        yield same_picks("bait", own.indices, their_picks, ordered=not labeled, **about)
