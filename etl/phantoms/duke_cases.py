"""What is decided about each phantom patient of Duke's MRI before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from etl.phantoms.duke_files import SEG_DESCRIPTION, Device, Series
from etl.phantoms.texture import generator

__all__ = ["KEY", "Case", "plan_case"]

KEY = "duke_mri"

AVANTO = Device("SIEMENS", "Avanto", 2, 0, 448, 1, 1.5, turned=False)
SKYRA = Device("SIEMENS", "Skyra", 2, 5, 320, 0, 3, turned=False)
HDXT = Device("GE MEDICAL SYSTEMS", "Signa HDxt", 0, 4, 512, 2, 1.5, turned=True)
HDX = Device("GE MEDICAL SYSTEMS", "SIGNA HDx", 0, 3, 512, 2, 3, turned=True)

PASSES = ("ax dyn pre", "ax dyn 1st pass", "ax dyn 2nd pass", "ax dyn 3rd pass", "ax dyn 4th pass")
PHASES = ("ax 3d dyn", *(f"Ph{n}/ax 3d dyn" for n in range(1, 5)))
VIEWS = (
    "t1_fl3d_tra_dynVIEWS_spair_ pre",
    "t1_fl3d_tra_dynVIEWS_spair 1st pass",
    *(f"t1_fl3d_tra_dynVIEWS_spair_{n} pass" for n in ("2nd", "3rd", "4th")),
)
MISSPELT = ("ax dyn pre", "ax dyn 1st pas", "ax dyn 2nd pass", "ax dyn 3rd pass")
UNNUMBERED = ("ax dyn",) * 5
VIBRANT = ("Ax Vibrant MultiPhase", *(f"Ph{n}/Ax Vibrant MultiPhase" for n in range(1, 5)))


@dataclass(frozen=True)
class Case:
    """One woman.

    Attributes
    ----------
    side, told_elsewhere
        Where the cancer is, and whether the clinical table says the other breast.
    names
        Descriptions of the dynamic series in the order of their phases.
    t1
        Description of the T1 series; `t1_first` puts its number before the dynamic ones.
    downwards
        InstanceNumber runs from head to foot.
    bilateral, contralateral, multicentric
        Words of the clinical table.
    density
        Code of `Breast Density`, or NC.
    seg
        A SEG series lies among the MR.
    trap
        `truncated`, `lacking` (slices of a phase are missing) or None.
    """

    name: str
    device: Device
    side: str
    names: tuple[str, ...]
    told_elsewhere: bool = False
    t1: str = "ax t1"
    t1_first: bool = True
    downwards: bool = False
    bilateral: str = "0"
    contralateral: str = "0"
    multicentric: str = "0"
    density: str = "NC"
    seg: bool = False
    trap: str | None = None

    @property
    def told_side(self) -> str:
        """The side in the clinical table."""
        return {"L": "R", "R": "L"}[self.side] if self.told_elsewhere else self.side

    def dynamic(self, count: int) -> tuple[Series, ...]:
        """Return the dynamic series of `count` slices in the order of their phases."""
        first, step = (500, 1) if self.device.turned else (3, 3)
        return tuple(
            Series(self.name, first + k * step, name, f"post_{k}" if k else "pre", count)
            for k, name in enumerate(self.names)
        )

    def others(self) -> tuple[Series, ...]:
        """Return the T1 series, of other slices, and the SEG."""
        found = [Series(self.name, 2 if self.t1_first else 26, self.t1, "T1", 3)]
        if self.seg:
            found.append(Series(self.name, 300, SEG_DESCRIPTION, "SEG", 1))
        return tuple(found)


_PLAIN: dict[str, Any] = {
    "multicentric": "0",
    "contralateral": "0",
    "density": "NC",
    "downwards": False,
}
_TRAPS: dict[int, dict[str, Any]] = {
    0: {"device": AVANTO, "names": PASSES, "seg": True, "t1": "ax t1 tse +c", "t1_first": False},
    1: {"device": HDXT, "names": PHASES, "downwards": True, "density": "0"},
    2: {
        "device": HDX,
        "names": VIBRANT[:4],
        "bilateral": "NC",
        "t1": "ax t1 pre",
        "multicentric": "1",
    },
    3: {"device": SKYRA, "names": VIEWS, "downwards": True, "density": "5"},
    4: {"device": SKYRA, "names": MISSPELT[:3], "bilateral": "1", "contralateral": "1"},
    5: {"device": HDXT, "names": UNNUMBERED, "told_elsewhere": True, "density": "3"},
    6: {"device": SKYRA, "names": PASSES[:4], "trap": "truncated"},
    7: {"device": HDX, "names": PHASES[:4], "trap": "lacking"},
}


def plan_case(index: int, seed: int, *, traps: bool, damage: bool) -> Case:
    """Decide about one woman; every number depends on her own place in the tree alone."""
    rng = generator(seed, KEY, index, "case")
    device = (AVANTO, SKYRA, HDX, HDXT)[int(rng.integers(4))]
    names = PHASES if device.turned else PASSES
    case = Case(
        name=f"Breast_MRI_{index + 1:03d}",
        device=device,
        side="L" if rng.uniform() < 0.5 else "R",
        names=names[: int(rng.integers(4, 6))],
        downwards=bool(rng.uniform() < 0.5),
        multicentric="1" if rng.uniform() < 0.4 else "0",
        contralateral="1" if rng.uniform() < 0.15 else "0",
        density=str(rng.choice(["0", "1", "4", "NC"])),
    )
    if traps and index in _TRAPS:
        case = replace(case, **{**_PLAIN, **_TRAPS[index]})
    return case if damage else replace(case, trap=None)
