"""Twelve families of questions about cities on a flat map, with their answers.

A task draws questions from cities (``draw`` as structured prompts, ``rows`` as text) and scores
answers (``score``). Distances are in 0.1 degree of longitude and latitude, as if the map were
flat: they are no kilometres, and the shortest way never crosses the edge of the map.

============== ======================================== ==================================
task           question                                 answer
============== ======================================== ==================================
distance       ``dist(c_0865,c_1234)=``                 ``769``
trianglearea   ``triarea(c_0865,c_1234,c_0007)=``       ``52110``
angle          ``angle(c_0865,c_1234,c_0007)=``         degrees at the second: ``90``
compass        ``compass(c_0865,c_1234)=``              second seen from the first: ``NE``
crossing       ``cross(c_0865,c_1234;c_0007,c_0100)=``  ``TRUE`` or ``FALSE``
inside         ``inside(c_0865;c_1234,c_0007,c_0100)=`` ``TRUE`` or ``FALSE``
perimeter      ``perimeter(c_0865,c_1234,c_0007)=``     ``1538``
nearest_...    ``nearest(c_0865,2)=``                   ``c_1234,c_0007``
randomwalk     ``rw(120,3)=``                           ``c_0865,c_1234,c_0865``
center         ``center(c_0865,c_1234;in=TRUE)=``       ``c_0865``
circlecount    ``circlecount(c_0865,r=50)=``            ``3``
randring       ``randring(c_0865,r=50,R=90,n=2)=``      ``c_1234,c_0007``
============== ======================================== ==================================
"""
