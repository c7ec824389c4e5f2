"""The tidiness rules for Python files: each answers the lines that break it, and says what to write instead."""

import ast
import re
from collections.abc import Callable, Iterator

from tests.architecture.sources import Source

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
PARAMETERS_MAX = 6

Fault = tuple[int, str]
Rule = Callable[[Source], Iterator[Fault]]
Function = ast.FunctionDef | ast.AsyncFunctionDef

TAKE_A_CLOCK = "take a `Clock` (engine/clock.py)"
TAKE_A_SEED = "take a `Seed` (engine/simulators/seed.py)"
CLOCK_ONLY = ("engine/clock.py",)
SEED_ONLY = ("engine/simulators/seed.py",)
TERMINAL_ONLY = ("engine/cli.py", "engine/cli", "engine/console", "engine/__main__.py")

# What is banned, what to use instead, and where it is allowed.
BANNED: dict[str, tuple[str, tuple[str, ...]]] = {
    "datetime.datetime.now": (f"{TAKE_A_CLOCK} and ask `now()`", CLOCK_ONLY),
    "datetime.datetime.utcnow": (f"{TAKE_A_CLOCK} and ask `now()`", CLOCK_ONLY),
    "datetime.datetime.today": (f"{TAKE_A_CLOCK} and ask `now()`", CLOCK_ONLY),
    "datetime.date.today": (f"{TAKE_A_CLOCK} and ask `now()`", CLOCK_ONLY),
    "time.time": (f"{TAKE_A_CLOCK} and ask `now()`", CLOCK_ONLY),
    "time.time_ns": (f"{TAKE_A_CLOCK} and ask `now()`", CLOCK_ONLY),
    "time.monotonic": (f"{TAKE_A_CLOCK} and ask `monotonic()`", CLOCK_ONLY),
    "time.monotonic_ns": (f"{TAKE_A_CLOCK} and ask `monotonic()`", CLOCK_ONLY),
    "time.perf_counter": (f"{TAKE_A_CLOCK} and ask `monotonic()`", CLOCK_ONLY),
    "time.sleep": (f"{TAKE_A_CLOCK} and call `sleep()` or `wait()`", CLOCK_ONLY),
    "threading.Timer": (f"{TAKE_A_CLOCK} and `wait()` in a thread that has a name", CLOCK_ONLY),
    "asyncio.sleep": ("we are synchronous; " + TAKE_A_CLOCK, CLOCK_ONLY),
    "random": (TAKE_A_SEED, SEED_ONLY),
    "uuid.uuid1": (f"{TAKE_A_SEED} and ask `uuid()`", SEED_ONLY),
    "uuid.uuid4": (f"{TAKE_A_SEED} and ask `uuid()`", SEED_ONLY),
    "print": ("log it (engine/logs.py); only the command line and the console talk to a terminal", TERMINAL_ONLY),
}

WHOLE_MODULES = frozenset({"random"})  # banned as the beginning of a name; the beginning alone does nothing

# Where `except Exception` is right, and why. It logs, counts or carries on; it never passes over anything in silence.
BROAD_EXCEPTS: dict[str, str] = {
    "engine/workflow/runner.py": "a bug in one machine's step must not stop the others",
    "engine/jobs/scheduler.py": "a job that fails once must run again next time",
    "engine/jobs/prompt.py": "one bad turn must not end a job",
    "engine/cluster/leases.py": "a dead elector would leave a program that never acts and never ends",
    "engine/console/server.py": "a page that fails must not take the program with it",
    "engine/cluster/reflector.py": "a watch that dies blinds the engine, whatever killed it",
    "engine/store/writer.py": "the error is carried to the thread that asked, which raises it there",
    "engine/simulators/http.py": "a simulator answers 500 for its own bugs, as a real server does",
}

BANNED_WORDS = frozenset({"utils", "util", "helpers", "helper", "common", "base", "manager", "data", "info"})
BANNED_VERBS = frozenset({"process", "handle"})
# Names that a library asks its subclasses for.
ASKED_FOR = frozenset({"process_bind_param", "process_result_value", "process_request", "handle_error"})
WIRE = "engine/simulators"  # there, a request is handled: that is the word of the wire


def too_long(source: Source) -> Iterator[Fault]:
    """A module has one responsibility, and a function fits on a screen."""
    lines = source.text.count("\n")
    if lines > MODULE_LINES_MAX:
        yield 1, f"module has {lines} lines; {MODULE_LINES_MAX} are the limit: split it by responsibility"
    for function in _functions(source.tree):
        length = _own_lines(function)
        if length > FUNCTION_LINES_MAX:
            yield function.lineno, f"`{function.name}` has {length} lines; {FUNCTION_LINES_MAX} are the limit"


def too_many_parameters(source: Source) -> Iterator[Fault]:
    """More than six things belong together and deserve a record."""
    for function in _functions(source.tree):
        arguments = function.args
        named = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        count = len(named) - (named[:1] in (["self"], ["cls"]))
        if count > PARAMETERS_MAX:
            yield function.lineno, f"`{function.name}` has {count} parameters; {PARAMETERS_MAX} are the limit"


def banned_call(source: Source) -> Iterator[Fault]:
    """Time and chance are arguments, and output goes through the log."""
    origins = _origins(source.tree)
    for node in ast.walk(source.tree):
        name = _dotted(node, origins)
        if not name or name in WHOLE_MODULES:
            continue
        banned = next((each for each in (name, name.split(".")[0]) if each in BANNED), None)
        if banned and not source.within(*BANNED[banned][1]):
            yield getattr(node, "lineno", 1), f"`{name}` is banned here: {BANNED[banned][0]}"


def broad_except(source: Source) -> Iterator[Fault]:
    """Only the loops that must survive everything catch everything; all others say what they expect."""
    if source.path in BROAD_EXCEPTS:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _raises_again(node):
            yield node.lineno, "catches everything: name the errors, or raise again at the end"
        if isinstance(node, ast.Call) and _last_name(node.func) == "suppress" and any(map(_is_broad, node.args)):
            yield node.lineno, "suppresses everything: name the errors"


def banned_name(source: Source) -> Iterator[Fault]:
    """If the noun is missing, the design is."""
    stem = source.path.removesuffix(".py").removesuffix("/__init__").rsplit("/", 1)[-1]
    named = [(1, "module", stem)]
    named += [(node.lineno, "class", node.name) for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)]
    named += [(function.lineno, "function", function.name) for function in _functions(source.tree)]
    for line, kind, name in named:
        words = _words(name)
        for word in sorted(BANNED_WORDS.intersection(words)):
            yield line, f"{kind} `{name}`: `{word}` says nothing; name what it is"
        free = name in ASKED_FOR or source.within(WIRE)
        if kind == "function" and words[0] in BANNED_VERBS and not free:
            yield line, f"function `{name}`: `{words[0]}` says nothing; name what is true afterwards"


def marker(source: Source) -> Iterator[Fault]:
    """What is left to do is an issue, not a comment."""
    for number, line in enumerate(source.text.splitlines(), start=1):
        if MARKER.search(line):
            yield number, "markers for later are banned: open an issue, or do it"


def missing_docstring(source: Source) -> Iterator[Fault]:
    """A module says why it exists; a test says, in a sentence, what is true when it passes."""
    if source.text.strip() and not ast.get_docstring(source.tree):
        yield 1, "the module has no docstring that says why it exists"
    if not source.path.startswith("tests/"):
        return
    for function in _functions(source.tree):
        if function.name.startswith("test_"):
            text = ast.get_docstring(function) or ""
            if not text.partition("\n\n")[0].rstrip().endswith((".", ".`", "?")):
                yield function.lineno, f"`{function.name}` has no docstring that is a sentence"


# In two parts, so that the rule does not find itself.
MARKER = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")

EVERYWHERE: tuple[Rule, ...] = (too_long, too_many_parameters, marker, missing_docstring)
IN_THE_PROGRAM: tuple[Rule, ...] = (banned_call, broad_except, banned_name)


def faults_in(source: Source) -> list[str]:
    """Answer every fault of one file, in words that begin with its place."""
    rules = (*EVERYWHERE, *IN_THE_PROGRAM) if source.within("engine", "migrations") else EVERYWHERE
    return [f"{source.path}:{line}: {text}" for rule in rules for line, text in rule(source)]


def _own_lines(function: Function) -> int:
    """Count the lines of a function without those of functions inside it: each has its own limit."""
    nested = [node for node in ast.walk(function) if isinstance(node, Function) and node is not function]
    inner = {line for node in nested for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return len(set(range(function.lineno, (function.end_lineno or function.lineno) + 1)) - inner)


def _functions(tree: ast.Module) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def _origins(tree: ast.Module) -> dict[str, str]:
    """Answer, for each name that an import binds, what it stands for."""
    origins = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                origins[each.asname or each.name.split(".")[0]] = each.name if each.asname else each.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for each in node.names:
                origins[each.asname or each.name] = f"{node.module}.{each.name}"
    return origins


def _dotted(node: ast.AST, origins: dict[str, str]) -> str | None:
    """Answer the full name that an expression stands for, when it begins with an import or is a builtin's name."""
    if isinstance(node, ast.Attribute):
        front = _dotted(node.value, origins)
        return f"{front}.{node.attr}" if front else None
    if isinstance(node, ast.Name):
        return origins.get(node.id) or (node.id if node.id == "print" else None)
    return None


def _is_broad(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(map(_is_broad, kind.elts))
    return kind is None or _last_name(kind) in {"Exception", "BaseException"}


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _words(name: str) -> list[str]:
    """Answer the words of an identifier in snake case or camel case, in lower case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower().strip("_").split("_")
