"""What EMBED is, as published."""

from __future__ import annotations

from schemas.release import Licence, ReleaseInfo, TissueRule
from schemas.vocabulary import Modality

__all__ = ["RELEASE"]

RELEASE = ReleaseInfo(
    key="embed",
    title="EMBED Open Data (Emory Breast Imaging Dataset)",
    modalities=(Modality.FFDM, Modality.S2D),
    licence=Licence(
        key="EMBED-RUA",
        title=(
            "EMBED Research Use Agreement: academic and non-commercial only, no part may be passed "
            "on, no derivative works, no release of models, weights or embeddings"
        ),
        redistributable=False,
        weights_releasable=False,
    ),
    citation=(
        "JJ Jeong et al. (2023) The EMory BrEast imaging Dataset (EMBED). Radiology: Artificial "
        "Intelligence 5(1):e220047. doi:10.1148/ryai.220047"
    ),
    url="https://github.com/Emory-HITI/EMBED_Open_Data",
    how_to_get=(
        "request access by the form on the url; then sync tables/ and images/ (or a part of them) "
        "from the bucket embed-dataset-open with your own AWS account"
    ),
    tissue=TissueRule.DIGITAL,
    size="480,323 images, about 16 TB",
    image_files="images/cohort_*/*/*/*/*.dcm",
)
