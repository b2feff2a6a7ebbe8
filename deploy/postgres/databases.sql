-- One database for each service, made with the data of deploy/compose.scale.yaml's server.
CREATE DATABASE brain;
CREATE DATABASE auth;
CREATE DATABASE metrics;
