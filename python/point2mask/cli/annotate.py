"""``point2mask annotate``: a local page on which a folder's pictures are clicked."""

import argparse
import socket
import sys
from typing import TYPE_CHECKING

from point2mask.cli.command import Subparsers, UsageError, add_command, local, positive
from point2mask.cli.device import add_device, add_precision, device_of, precision_of
from point2mask.cli.label import add_prompts
from point2mask.messages import number_of

if TYPE_CHECKING:
    from point2mask.app import Project

PORT = 8642
LOOPBACK = "127.0.0.1"
PATIENCE = 2  # seconds that open requests get when the server is stopped


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "annotate",
        run,
        "Click on the pictures of a folder in the browser and see the masks at once.",
        """
          label the pictures in photos; clicks go to photos/points.json:
            point2mask annotate photos
          with the categories of another data set, and the edge maps of a learned detector:
            point2mask annotate photos --categories panoptic_train.json --edges edges
          with masks by a network that was trained on earlier clicks:
            point2mask annotate photos --checkpoint out/run
          with a promptable network (encoder and decoder as ONNX) as a cue:
            point2mask annotate photos --prompts sam
          the same masks without the page:
            point2mask label --images photos --points photos/points.json --out labels
        """,
    )
    parser.add_argument("folder", type=local, metavar="DIR", help="the pictures, used as stored")
    parser.add_argument(
        "--out",
        type=local,
        metavar="DIR",
        help="gets the exports, a folder a format (default: DIR with _exports at the end)",
    )
    parser.add_argument(
        "--categories",
        type=local,
        metavar="JSON",
        help="panoptic JSON or point labels whose categories to begin with, if there is no "
        "points.json yet (default: those of the checkpoint, or none)",
    )
    parser.add_argument(
        "--edges",
        type=local,
        metavar="DIR",
        help="edge maps that can be chosen beside the built-in ones: a grey picture of the same "
        "name for every picture, bright on edges",
    )
    parser.add_argument(
        "--checkpoint",
        type=local,
        metavar="DIR",
        help="folder of a run, of one of its checkpoints, or of save_pretrained: masks by its "
        "network can be chosen",
    )
    add_device(parser)
    add_precision(parser)
    add_prompts(parser)
    parser.add_argument(
        "--max-side",
        type=positive,
        metavar="PIXELS",
        help="make masks on pictures reduced to this longer side (default: 640, and more where a "
        "picture is long or its clicks are close together)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=PORT,
        metavar="N",
        help="where to listen; 0 takes any free port (default: %(default)s)",
    )
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        metavar="ADDRESS",
        help="address to listen at; beyond %(default)s, the default, everybody who reaches it can "
        "see the pictures and change the labels",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def run(args: argparse.Namespace) -> int:
    from point2mask.data.claims import one_writer
    from point2mask.data.files import resolve_inside
    from point2mask.data.point_json import POINTS_NAME

    if args.edges is not None and not args.edges.is_dir():
        raise UsageError(f"{args.edges}: expected the folder of the edge maps")
    for option in ("device", "precision"):
        if args.checkpoint is None and getattr(args, option) is not None:
            raise UsageError(f"--{option} is for the network of --checkpoint")
    labels = resolve_inside(args.folder, POINTS_NAME)
    busy = f"{args.folder}: another 'point2mask annotate' serves this folder; stop that one first"
    # Only who has the folder and the port to itself reads labels, which may be written anew then.
    with one_writer(labels, busy) as alone, _listen(args.host, args.port) as listener:
        if not alone:
            print(
                f"point2mask: warning: {labels.parent}: this file system knows no locks; see to it "
                "that no second server serves the folder",
                file=sys.stderr,
            )
        return _serve(args, listener)


def _serve(args: argparse.Namespace, listener: socket.socket) -> int:
    import uvicorn

    from point2mask.app import Cues, Masks, Project, create_app
    from point2mask.data.records import read_categories

    out = args.out or args.folder.resolve().with_name(f"{args.folder.resolve().name}_exports")
    network = None
    categories = None
    if args.checkpoint is not None:
        from point2mask.hub import load_predictor
        from point2mask.label.network import TrainedNetwork

        predictor = load_predictor(args.checkpoint, device_of(args), precision_of(args))
        network = TrainedNetwork(predictor)
        categories = network.categories
    if args.categories is not None:
        categories = read_categories(args.categories)
    prompts = None
    if args.prompts is not None:
        from point2mask.label.prompts import PromptableNetwork

        prompts = PromptableNetwork(args.prompts)
    project = Project(args.folder, categories, without=out)
    masks = Masks(args.folder, Cues(args.edges, network, prompts, args.max_side))
    port = listener.getsockname()[1]
    name = f"[{args.host}]" if ":" in args.host else args.host
    url = f"http://{name}:{port}/"
    _report(project, url)
    if args.host not in (LOOPBACK, "localhost", "::1"):
        print(
            f"point2mask: warning: everybody who reaches {args.host} can see and change this",
            file=sys.stderr,
        )
    app = create_app(project, masks, out, args.host)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=PATIENCE
    )
    server = uvicorn.Server(config)
    if args.open:
        import webbrowser

        webbrowser.open(url)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # the usual way to stop; all is saved
        pass
    finally:
        project.close()
    return 0


def _report(project: "Project", url: str) -> None:
    done = sum(count > 0 for _, count, _ in project.overview())
    print(
        f"{number_of(len(project.names), 'picture')}, {done} with clicks; labels in {project.path}",
        file=sys.stderr,
    )
    for note in project.notes:
        print(note, file=sys.stderr)
    print(f"open {url} (stop with Ctrl-C)", file=sys.stderr, flush=True)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"cannot listen at {host}, port {port} ({error.strerror or error}); choose another "
            "with --port, 0 for any free one"
        ) from error
    # Connections inherit it. Without, an answer's body waits 40 ms until its headers are confirmed.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _port(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**16:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return value
