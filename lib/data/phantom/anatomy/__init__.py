"""Draw the head, neck and chest of one patient as smooth shapes in a canonical frame, in mm.

Frame: origin midway between the ear canals, x to the patient's right, y forwards, z upwards; an adult's sizes.
"""
