"""Layers: plain functions of an input and parameters, one file a family, each with its adjoint.  A layer keeps no state."""
