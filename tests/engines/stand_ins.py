"""Imports the Python source of a wheel without what it depends on: PyTorch and all else that is not there is a stand-in."""

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
import types
import typing
from pathlib import Path

VERSION = "999.0"


def _base() -> type:
    """What a class that inherits from a stand-in inherits from: a new class each time, which keeps the orders of bases apart."""

    class Base:
        def __init_subclass__(cls, **_named: object) -> None:
            super().__init_subclass__()

    return Base


class StandIn:
    """Any name of an absent module. Every attribute, item, call and operator of it is another stand-in."""

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return StandIn(f"{self.__name__}.{name}")

    def __call__(self, *arguments: object, **named: object) -> object:
        if len(arguments) == 1 and not named and isinstance(arguments[0], types.FunctionType | type):
            return _decorated(arguments[0])
        return self

    def __mro_entries__(self, _bases: tuple) -> tuple:
        return (_base(),)

    def __instancecheck__(self, _object: object) -> bool:
        return False

    def __subclasscheck__(self, _class: type) -> bool:
        return False

    def __getitem__(self, _key: object) -> "StandIn":
        return self

    def __setitem__(self, _key: object, _value: object) -> None:
        return None

    def __or__(self, _other: object) -> "StandIn":
        return self

    __ror__ = __add__ = __radd__ = __sub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = __mod__ = __or__

    def __lt__(self, _other: object) -> bool:
        return False

    __gt__ = __le__ = __ge__ = __lt__

    def __iter__(self):
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def __int__(self) -> int:
        return 0

    def __fspath__(self) -> str:
        return "/absent"

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _decorated(item: types.FunctionType | type) -> types.FunctionType | type:
    """What a decorator of an absent module gives back: the same, which registers nothing."""
    if isinstance(item, types.FunctionType):
        item.register_fake = item.register_autograd = item.register_kernel = StandIn("register")
    return item


class _Module(types.ModuleType):
    __path__: list[str] = []
    __version__ = VERSION

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        # `from package import module` of a package whose `__init__.py` is not run.
        if any(Path(folder, name).exists() or Path(folder, f"{name}.py").exists() for folder in self.__path__):
            return importlib.import_module(f"{self.__name__}.{name}")
        return StandIn(name)


def _version(name: str, real=importlib.metadata.version) -> str:
    """A stand-in is newer than any version that is asked for."""
    try:
        return real(name)
    except importlib.metadata.PackageNotFoundError:
        return VERSION


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for the modules that no other finder knows, except those of the opened wheels."""

    def __init__(self) -> None:
        self.opened: set[str] = set()
        self.absent: tuple[str, ...] = ()

    def find_spec(self, name: str, _path: object = None, _target: object = None):
        top = name.split(".")[0]
        # Python's own modules of other systems stay absent: their presence is asked for.
        if top in sys.stdlib_module_names or top in self.opened and not name.startswith(self.absent or "."):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__ == "typing_extensions":
            module.__dict__.update({name: getattr(typing, name) for name in typing.__all__})


_FINDER = _Finder()


def open_wheel(
    folder: Path, package: str, *, skipped: tuple[str, ...] = (), absent: tuple[str, ...] = ()
) -> None:
    """Lets `package` be imported from its unpacked wheel, the folder of `folder` with its name.

    The `__init__.py` of the packages `skipped` is not run: their modules are real, other names of theirs are stand-ins.
    Of the packages `absent` everything is a stand-in.
    """
    if _FINDER not in sys.meta_path:
        sys.meta_path.append(_FINDER)
        importlib.metadata.version = _version
    folder = folder / package
    sys.path.insert(0, str(folder))
    _FINDER.opened.add(package)
    _FINDER.absent += tuple(f"{name}." for name in absent)
    for name in skipped + absent:
        module = _Module(name)
        module.__path__ = [str(folder.joinpath(*name.split(".")))] if name in skipped else []
        sys.modules[name] = module
