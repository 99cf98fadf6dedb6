"""Paint the head, neck and chest of one patient as smooth shapes in a canonical frame, in mm.

The origin lies midway between the ear canals; x points to the patient's right, y to the front, z upwards. The sizes are
those of an adult.
"""
