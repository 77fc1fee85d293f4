"""What OMI-DB is, as published."""

from __future__ import annotations

from schemas.release import Licence, ReleaseInfo, TissueRule
from schemas.vocabulary import Modality

__all__ = ["RELEASE"]

RELEASE = ReleaseInfo(
    key="omi_db",
    title="OMI-DB (OPTIMAM Mammography Image Database)",
    modalities=(Modality.FFDM,),
    licence=Licence(
        key="OMI-DB-agreement",
        title="OPTIMAM data-sharing agreement: no redistribution",
        redistributable=False,
        weights_releasable=False,  # what the agreement does not grant is not assumed
    ),
    citation=(
        "MD Halling-Brown et al. (2021) OPTIMAM Mammography Image Database: A Large-Scale Resource "
        "of Mammography Images and Clinical Data. Radiology: Artificial Intelligence 3(1):e200103"
    ),
    url="https://medphys.royalsurrey.nhs.uk/omidb/",
    how_to_get=(
        "apply to the OPTIMAM team and sign the data-sharing agreement; keep data/ and images/ of "
        "the delivery as they are"
    ),
    tissue=TissueRule.DIGITAL,
    size="172,282 women, over 2 million images in the whole; each user has a part",
)
