CREATE TABLE raw (id BIGINT NOT NULL, name VARCHAR(20), at DATETIME, source_file TEXT) ENGINE=AUTOLOAD CONNECTION='landing' ENGINE_ATTRIBUTE='{"format": "json"}' COMMENT='as a user of MySQL writes it';
CREATE TABLE everything ( ) ENGINE=AUTOLOAD CONNECTION='landing';
