"""Verdicts and certificates on clouds, manifolds and models: CONFIRMED, REFUTED or INCONCLUSIVE, never a bare boolean.

`verify` compares the homology of a subject with that of other data or with an expectation; `dimension_certificate` reads the dimension of an
implicit manifold off its spectrum; `certify` reads the topology of an atlas off its charts; `verify_sheets` takes a set apart where its
sheets cross; `betti_stability` says how stable Betti numbers are.
"""

from topogen.verification.betti_stability import BettiStability, betti_stability
from topogen.verification.certify_atlas import Certificate, certify
from topogen.verification.dimension_certificate import DimensionCertificate, dimension_certificate
from topogen.verification.naming import closed_manifold_name
from topogen.verification.verdict import Claim, Result, Verdict
from topogen.verification.verify import verify
from topogen.verification.verify_sheets import SheetsResult, verify_sheets

__all__ = [
    "BettiStability",
    "Certificate",
    "Claim",
    "DimensionCertificate",
    "Result",
    "SheetsResult",
    "Verdict",
    "betti_stability",
    "certify",
    "closed_manifold_name",
    "dimension_certificate",
    "verify",
    "verify_sheets",
]
