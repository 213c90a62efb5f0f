"""The conformance kit: cases for every pair, named mistakes, the accuracy of every value, and the audit that runs them all."""
