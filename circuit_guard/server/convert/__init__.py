"""The only mapping between the gRPC contract and the core.

enums      the enumerations, as tables
fields     reads one field: bounded text, decimal, time, count, choice
requests   protobuf -> core inputs; raises WireError with the path of the field
answers    core facts -> protobuf answers
events     core facts -> protobuf events
status     core status -> protobuf status
"""
