"""A trained classifier as a black box."""

from functools import partial

from papagaio.blackboxes.contract import Contract
from papagaio.blackboxes.function import FunctionBox
from papagaio.networks.classifier import Classifier
from papagaio.training.inference import predict
from papagaio.training.machine import Machine
from papagaio.weights import digest_weights

__all__ = ["network_box"]


def network_box(
    name: str,
    network: Classifier,
    contract: Contract,
    machine: Machine,
    identity: str | None = None,
) -> FunctionBox:
    """A network as a black box; without an identity it is a digest of the weights."""
    return FunctionBox(
        name=name,
        identity=identity or digest_weights(network.state_dict()),
        contract=contract,
        function=partial(predict, network, machine=machine),
    )
