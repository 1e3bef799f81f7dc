"""Clusters from pairs: the connected components of a graph whose nodes are numbers.

The root of a component is its smallest node, whatever the order of the edges: number the nodes so that the document to
keep comes first, and the root is the survivor.
"""

from typing import Any

import numpy as np

from pipeline.core.kernels import kernel

Array = np.ndarray[Any, Any]


def roots(num_nodes: int, edges: Array) -> Array:
    """uint32 [num_nodes]: the smallest node of each node's component. `edges` is uint32 [n, 2]."""
    parent = np.arange(num_nodes, dtype=np.uint32)
    _union_all(parent, np.ascontiguousarray(edges[:, 0]), np.ascontiguousarray(edges[:, 1]))
    return parent


@kernel
def find(parent, node):  # type: ignore[no-untyped-def]
    """The root, with path halving."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@kernel
def _union_all(parent, left, right):  # type: ignore[no-untyped-def]
    for k in range(len(left)):
        one, other = find(parent, left[k]), find(parent, right[k])
        if one < other:
            parent[other] = one
        elif other < one:
            parent[one] = other
    for node in range(len(parent)):
        parent[node] = find(parent, node)
