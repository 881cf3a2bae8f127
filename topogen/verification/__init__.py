"""Verdicts and certificates on clouds, manifolds and models: CONFIRMED, REFUTED or INCONCLUSIVE, never a bare boolean.

`verify` compares the homology of a subject with that of other data or with an expectation; `dimension_certificate` reads the dimension of an
implicit manifold off its spectrum; `certify` reads the topology of an atlas off its charts; `verify_sheets` takes a set apart where its
sheets cross; `betti_probabilities` says how sure Betti numbers are.
"""

from topogen.verification.betti_probabilities import BettiProbabilities, betti_probabilities
from topogen.verification.certify_atlas import Certificate, certify
from topogen.verification.dimension_certificate import DimensionCertificate, dimension_certificate
from topogen.verification.naming import closed_manifold_name
from topogen.verification.verdict import Claim, Result, Verdict
from topogen.verification.verify import verify
from topogen.verification.verify_sheets import SheetsResult, verify_sheets

__all__ = [
    "BettiProbabilities",
    "Certificate",
    "Claim",
    "DimensionCertificate",
    "Result",
    "SheetsResult",
    "Verdict",
    "betti_probabilities",
    "certify",
    "closed_manifold_name",
    "dimension_certificate",
    "verify",
    "verify_sheets",
]
